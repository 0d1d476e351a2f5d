//! The options of `[sync]`. An option that cannot work fails the start and names itself.

use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use std::time::Duration;

/// The options of sync.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Sync reads the binlog as a replica with this server id; each further capability takes the next
    /// number. No other replica of the monolith may have it; 1 to 4294967000.
    pub server_id: u32,
    /// The most rows in a chunk of the copy; 1 to 100000.
    pub chunk_rows: u64,
    /// The pause between two chunks of the copy, in milliseconds; 0 to 60000.
    pub chunk_pause_ms: u64,
    /// The copy waits while the forward stream lags more than this, in milliseconds; 10 to 600000.
    pub copy_lag_ms_max: u64,
    /// The most changes in a batch of several transactions; 1 to 100000.
    pub batch_changes_max: usize,
    /// The most bytes, as JSON, in a batch of several transactions or a chunk; 1024 to 16777216.
    pub batch_bytes_max: usize,
    /// The most bytes, as JSON, in one transaction of the monolith. A larger one stops the stream; 1048576 to
    /// 1073741824.
    pub transaction_bytes_max: usize,
    /// How often the service hears of a position behind which nothing concerns it, in milliseconds; 1 to
    /// 10000.
    pub position_ms: u64,
    /// How often a heartbeat is written, by which the forward lag is measured, in milliseconds; 10 to 60000.
    pub heartbeat_ms: u64,
    /// The most outbox events that one transaction writes to the monolith; 1 to 10000.
    pub reverse_events_max: u64,
    /// How long the service may keep a question for outbox events open, in milliseconds; 10 to 8000.
    pub reverse_wait_ms: u64,
    /// The pause between two tries to take gates, in milliseconds; 1 to 1000.
    pub gate_retry_ms: u64,
    /// The monolith's server drops a connection that holds gates and says nothing for this long, in
    /// seconds; 2 to 30. It must outlast the longest attempt of control, and be below the monolith's
    /// `innodb_lock_wait_timeout`.
    pub gate_idle_s_max: u64,
    /// How long setting a fence waits for a writer that holds its rows, in milliseconds; 0 to 10000.
    pub fence_wait_ms_max: u64,
    /// The most time that one statement may take, in milliseconds; 100 to 60000.
    pub statement_ms_max: u64,
    /// The most time that connecting to the monolith's database may take, in milliseconds; 100 to 60000.
    pub connect_ms_max: u64,
    /// How long a write of reverse waits for a row that a transaction of the monolith locks, in seconds; 1
    /// to 50.
    pub lock_wait_s_max: u64,
    /// How long a failed stream waits before it tries again, doubled with each failure up to this, in
    /// milliseconds; 100 to 60000.
    pub retry_ms_max: u64,
    /// Rows of a page that verification compares at a time; 1 to 10000.
    pub verify_rows: u64,
    /// How often a difference is looked at again before it counts; 1 to 100.
    pub verify_rechecks: u32,
    /// Ids that the monolith keeps for itself between two blocks, beyond which a block waits for open
    /// transactions; 100 to 1000000.
    pub block_distance: u64,
    /// How long a block of ids may wait for open transactions, in milliseconds; 100 to 9000.
    pub block_wait_ms_max: u64,
    /// Events of the binlog that stopped a stream and that a person has dealt with, such as a TRUNCATE, as
    /// `file:position` in the words of the fault: they are passed over.
    pub acknowledged: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server_id: 2_026_001,
            chunk_rows: 1000,
            chunk_pause_ms: 2,
            copy_lag_ms_max: 1000,
            batch_changes_max: 2000,
            batch_bytes_max: 1 << 20,
            transaction_bytes_max: 32 << 20,
            position_ms: 100,
            heartbeat_ms: 250,
            reverse_events_max: 500,
            reverse_wait_ms: 5000,
            gate_retry_ms: 2,
            gate_idle_s_max: 10,
            fence_wait_ms_max: 500,
            statement_ms_max: 10_000,
            connect_ms_max: 5000,
            lock_wait_s_max: 5,
            retry_ms_max: 2000,
            verify_rows: 1000,
            verify_rechecks: 20,
            block_distance: 5000,
            block_wait_ms_max: 8000,
            acknowledged: Vec::new(),
        }
    }
}

impl Config {
    /// Checks what types alone cannot.
    ///
    /// # Errors
    /// The first fault: the key, its value and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        let table: [(&str, u64, RangeInclusive<u64>); 22] = [
            ("server_id", self.server_id.into(), 1..=4_294_967_000),
            ("chunk_rows", self.chunk_rows, 1..=100_000),
            ("chunk_pause_ms", self.chunk_pause_ms, 0..=60_000),
            ("copy_lag_ms_max", self.copy_lag_ms_max, 10..=600_000),
            ("batch_changes_max", self.batch_changes_max as u64, 1..=100_000),
            ("batch_bytes_max", self.batch_bytes_max as u64, 1024..=16 << 20),
            ("transaction_bytes_max", self.transaction_bytes_max as u64, 1 << 20..=1 << 30),
            ("position_ms", self.position_ms, 1..=10_000),
            ("heartbeat_ms", self.heartbeat_ms, 10..=60_000),
            ("reverse_events_max", self.reverse_events_max, 1..=10_000),
            ("reverse_wait_ms", self.reverse_wait_ms, 10..=8000),
            ("gate_retry_ms", self.gate_retry_ms, 1..=1000),
            ("gate_idle_s_max", self.gate_idle_s_max, 2..=30),
            ("fence_wait_ms_max", self.fence_wait_ms_max, 0..=10_000),
            ("statement_ms_max", self.statement_ms_max, 100..=60_000),
            ("connect_ms_max", self.connect_ms_max, 100..=60_000),
            ("lock_wait_s_max", self.lock_wait_s_max, 1..=50),
            ("retry_ms_max", self.retry_ms_max, 100..=60_000),
            ("verify_rows", self.verify_rows, 1..=10_000),
            ("verify_rechecks", self.verify_rechecks.into(), 1..=100),
            ("block_distance", self.block_distance, 100..=1_000_000),
            ("block_wait_ms_max", self.block_wait_ms_max, 100..=9000),
        ];
        for (key, value, allowed) in table {
            if !allowed.contains(&value) {
                return Err(format!("`{key}` {value} must be {} to {}", allowed.start(), allowed.end()));
            }
        }
        for place in &self.acknowledged {
            let number = place.rsplit_once(':').map(|(_, n)| n.parse::<u64>());
            if !matches!(number, Some(Ok(_))) {
                return Err(format!("`acknowledged` `{place}` must be file:position"));
            }
        }
        Ok(())
    }

    /// The most time that one statement may take.
    pub(crate) fn statement_max(&self) -> Duration {
        Duration::from_millis(self.statement_ms_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn a_value_that_cannot_work_is_named() {
        for (text, named) in [
            (r#"{"server_id": 0}"#, "`server_id` 0"),
            (r#"{"chunk_rows": 0}"#, "`chunk_rows` 0 must be 1 to 100000"),
            (r#"{"reverse_wait_ms": 9000}"#, "`reverse_wait_ms` 9000"),
            (r#"{"gate_idle_s_max": 60}"#, "`gate_idle_s_max` 60"),
            (r#"{"acknowledged": ["binlog.000001"]}"#, "`acknowledged` `binlog.000001`"),
        ] {
            let fault = serde_json::from_str::<Config>(text).unwrap().check().unwrap_err();
            assert!(fault.contains(named), "{fault}");
        }
        let ok = serde_json::from_str::<Config>(r#"{"acknowledged": ["binlog.000001:88"]}"#).unwrap();
        assert_eq!(ok.check(), Ok(()));
        let unknown = serde_json::from_str::<Config>(r#"{"speed": 1}"#).unwrap_err().to_string();
        assert!(unknown.contains("speed"), "{unknown}");
    }
}
