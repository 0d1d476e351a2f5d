//! The options of `[control]`. An option that cannot work fails the start and names itself.

use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// The options of control.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long a lease lasts from before its request was sent, in milliseconds; 100 to 60000. A gateway
    /// that is cut off stops serving capabilities after this time, and no step is taken for this time after
    /// a start.
    pub lease_ms: u64,
    /// How much longer control counts a lease than its holder does, in milliseconds; 10 to 10000.
    pub lease_margin_ms: u64,
    /// The most lease holders; 1 to 10000.
    pub leases_max: usize,
    /// The most buckets of one handover; 1 to 4096. More of them are moved by several, one after the other:
    /// writes of a bucket are held while the fence of all buckets of its handover is set.
    pub buckets_max: u16,
    /// How long a freeze waits for gateways to acknowledge it before it is restored, in milliseconds; 50 to
    /// 60000.
    pub ack_ms_max: u64,
    /// How long a freeze waits for every write in flight before it goes on with the buckets that have none,
    /// if they are at least half of all, in milliseconds; 0 to 10000.
    pub drain_patience_ms: u64,
    /// How long a freeze waits for writes in flight at most, in milliseconds; `drain_patience_ms` to 60000.
    pub drain_ms_max: u64,
    /// How long the gates of a whole attempt are tried for before those that can be had are taken, in
    /// milliseconds; 0 to 5000. Writes are held meanwhile.
    pub gates_patience_ms: u64,
    /// The same for the probe before a freeze, which finds buckets with long transactions; 0 to 5000.
    /// Writes go on meanwhile.
    pub probe_patience_ms: u64,
    /// How long the other side may take to commit everything up to the watermark, in milliseconds; 100 to
    /// 60000.
    pub apply_ms_max: u64,
    /// How long a call to sync or a service may take beyond what it was asked to wait, in milliseconds; 50
    /// to 60000.
    pub call_ms_max: u64,
    /// The highest lag of the forward stream with which a handover begins, in milliseconds; 1 to 600000.
    pub lag_ms_max: u64,
    /// The pause before what could not move is tried again, in milliseconds; 10 to 60000. It doubles while
    /// nothing moves.
    pub retry_ms_min: u64,
    /// The longest pause after a try that held no write, in milliseconds; `retry_ms_min` to 60000.
    pub probe_ms_max: u64,
    /// The longest pause after an attempt that was restored, in milliseconds; `retry_ms_min` to 600000.
    pub retry_ms_max: u64,
    /// How long a command may wait for its share to be reached, in milliseconds; 0 to 3600000.
    pub wait_ms_max: u64,
    /// How many reports of handovers are kept; 1 to 10000000.
    pub handovers_kept_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lease_ms: 3000,
            lease_margin_ms: 300,
            leases_max: 1000,
            buckets_max: 512,
            ack_ms_max: 1000,
            drain_patience_ms: 80,
            drain_ms_max: 2000,
            gates_patience_ms: 40,
            probe_patience_ms: 20,
            apply_ms_max: 3000,
            call_ms_max: 2000,
            lag_ms_max: 1000,
            retry_ms_min: 100,
            probe_ms_max: 500,
            retry_ms_max: 1000,
            wait_ms_max: 60_000,
            handovers_kept_max: 100_000,
        }
    }
}

impl Config {
    /// Checks what types alone cannot.
    ///
    /// # Errors
    /// The first fault: the key, its value and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        let table = [
            ("lease_ms", self.lease_ms, 100..=60_000),
            ("lease_margin_ms", self.lease_margin_ms, 10..=10_000),
            ("leases_max", self.leases_max as u64, 1..=10_000),
            ("buckets_max", self.buckets_max.into(), 1..=4096),
            ("ack_ms_max", self.ack_ms_max, 50..=60_000),
            ("drain_patience_ms", self.drain_patience_ms, 0..=10_000),
            ("drain_ms_max", self.drain_ms_max, self.drain_patience_ms..=60_000),
            ("gates_patience_ms", self.gates_patience_ms, 0..=5000),
            ("probe_patience_ms", self.probe_patience_ms, 0..=5000),
            ("apply_ms_max", self.apply_ms_max, 100..=60_000),
            ("call_ms_max", self.call_ms_max, 50..=60_000),
            ("lag_ms_max", self.lag_ms_max, 1..=600_000),
            ("retry_ms_min", self.retry_ms_min, 10..=60_000),
            ("probe_ms_max", self.probe_ms_max, self.retry_ms_min..=60_000),
            ("retry_ms_max", self.retry_ms_max, self.retry_ms_min..=600_000),
            ("wait_ms_max", self.wait_ms_max, 0..=3_600_000),
            ("handovers_kept_max", self.handovers_kept_max, 1..=10_000_000),
        ];
        table.into_iter().try_for_each(|(key, value, allowed)| within(key, value, allowed))
    }
}

fn within(key: &str, value: u64, allowed: RangeInclusive<u64>) -> Result<(), String> {
    if allowed.contains(&value) {
        Ok(())
    } else {
        Err(format!("`{key}` {value} must be {} to {}", allowed.start(), allowed.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_cannot_work_is_named() {
        type Change = fn(&mut Config);
        let table: [(&str, Change); 4] = [
            ("lease_ms", |c| c.lease_ms = 99),
            ("drain_ms_max", |c| c.drain_ms_max = c.drain_patience_ms - 1),
            ("retry_ms_max", |c| c.retry_ms_max = 50),
            ("leases_max", |c| c.leases_max = 0),
        ];
        assert_eq!(Config::default().check(), Ok(()));
        for (key, change) in table {
            let mut config = Config::default();
            change(&mut config);
            let fault = config.check().unwrap_err();
            assert!(fault.contains(&format!("`{key}`")), "{key}: {fault}");
        }
    }

    #[test]
    fn an_unknown_option_is_refused() {
        assert!(serde_json::from_str::<Config>(r#"{"lease_ms": 500}"#).is_ok());
        let fault = serde_json::from_str::<Config>(r#"{"lease": 500}"#).unwrap_err().to_string();
        assert!(fault.contains("lease"), "{fault}");
    }
}
