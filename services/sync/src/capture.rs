//! What the parts of sync share for one capability: its tables, its service, and how the streams stand.

use crate::binlog::Catalog;
use crate::config::Config;
use crate::copy::Desk;
use crate::database::{Database, Slot};
use crate::error::Fault;
use crate::fence::gates::Gates;
use crate::marks::Marks;
use banyan_core::Capability;
use banyan_core::protocol::exposure::Reversed;
use banyan_core::protocol::import::ImportState;
use banyan_core::protocol::monolith::VerifyReport;
use banyan_runtime::client::{CallError, RoleClient};
use banyan_runtime::clock;
use banyan_runtime::quantiles::Samples;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

/// Everything that sync holds for one capability.
pub struct Capture {
    /// What moves.
    pub capability: Capability,
    /// The monolith's database.
    pub database: Database,
    /// The service it moves to.
    pub service: RoleClient,
    /// The options.
    pub config: Arc<Config>,
    /// This capability's server id as a replica.
    pub server_id: u32,
    /// The id of this process in `banyan_heartbeat`.
    pub writer: Arc<str>,
    /// Where the copy leaves its chunks.
    pub desk: Arc<Desk>,
    /// Marks that the other side has committed.
    pub marks: Marks,
    /// What is wrong.
    pub faults: Faults,
    /// Heartbeats under way.
    pub beats: Beats,
    /// Lag samples of both streams.
    pub lag: Samples,
    /// Counts sessions of the forward stream.
    pub sessions: watch::Sender<u64>,
    /// Whether the forward stream is connected.
    pub forward_live: AtomicBool,
    /// How reverse stands.
    pub reverse: Reversal,
    /// Intents that the service has decided and that can be removed.
    pub decided: Mutex<Vec<u64>>,
    /// The gates.
    pub gates: Gates,
    /// The connection that sets the fence.
    pub fence: Slot,
    /// The connection that makes blocks of ids.
    pub blocks: Slot,
    /// The connection of other questions.
    pub questions: Slot,
    /// The newest verification.
    pub verified: Mutex<Option<VerifyReport>>,
    catalog: Mutex<Option<Arc<Catalog>>>,
}

/// How the reverse stream stands.
#[derive(Debug)]
pub struct Reversal {
    /// Whether the service answers.
    pub live: AtomicBool,
    /// The newest lag, in milliseconds.
    pub lag_ms: AtomicU64,
    /// The outbox position that the monolith holds.
    pub position: watch::Sender<Reversed>,
}

impl Capture {
    /// The state before anything has run.
    pub fn new(
        capability: Capability,
        (database, service): (&Database, RoleClient),
        config: &Arc<Config>,
        server_id: u32,
    ) -> Self {
        let blocks = crate::blocks::settings(config);
        Self {
            gates: Gates::new(&capability.name, database, config),
            capability,
            database: database.clone(),
            service,
            config: Arc::clone(config),
            server_id,
            writer: uuid::Uuid::now_v7().to_string().into(),
            desk: Arc::default(),
            marks: Marks::default(),
            faults: Faults::default(),
            beats: Beats::default(),
            lag: Samples::new(),
            sessions: watch::channel(0).0,
            forward_live: AtomicBool::new(false),
            reverse: Reversal {
                live: AtomicBool::new(false),
                lag_ms: AtomicU64::new(0),
                position: watch::channel(Reversed::default()).0,
            },
            decided: Mutex::default(),
            fence: Slot::new(database, crate::fence::set::settings()),
            blocks: Slot::new(database, blocks),
            questions: Slot::new(database, Vec::new()),
            verified: Mutex::default(),
            catalog: Mutex::default(),
        }
    }

    /// The shapes of the captured tables, read once: from then on a change of shape is a fault until sync
    /// is restarted.
    ///
    /// # Errors
    /// The database fails, or a table cannot be captured.
    pub async fn catalog(&self) -> Result<Arc<Catalog>, Fault> {
        let known = || self.catalog.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(catalog) = known().as_ref() {
            return Ok(Arc::clone(catalog));
        }
        let mut lease = self.questions.lease().await?;
        let catalog = Arc::new(Catalog::load(&self.database, &mut lease.connection, &self.capability).await?);
        lease.keep();
        Ok(Arc::clone(known().get_or_insert(catalog)))
    }

    /// Goes on with shapes that mean the same as those that were read first.
    pub fn follow(&self, catalog: Arc<Catalog>) {
        *self.catalog.lock().unwrap_or_else(PoisonError::into_inner) = Some(catalog);
    }

    /// Where the service stands.
    ///
    /// # Errors
    /// The service does not answer.
    pub async fn import_state(&self) -> Result<ImportState, CallError> {
        self.service.get("/v1/import").await
    }
}

/// Faults by the part that has one, for people.
#[derive(Debug, Default)]
pub struct Faults(Mutex<BTreeMap<&'static str, String>>);

impl Faults {
    /// Notes a fault; logs it where it is new.
    pub fn set(&self, part: &'static str, fault: String) {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if faults.get(part) != Some(&fault) {
            tracing::warn!(part, fault, "sync is in trouble");
            faults.insert(part, fault);
        }
    }

    /// The part works again.
    pub fn clear(&self, part: &'static str) {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(part).is_some() {
            tracing::info!(part, "works again");
        }
    }

    /// All faults in words.
    pub fn all(&self) -> Vec<String> {
        let faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        faults.iter().map(|(part, fault)| format!("{part}: {fault}")).collect()
    }
}

/// The most heartbeats that are remembered while none arrives.
const BEATS_MAX: usize = 4096;

/// Heartbeats from the moment they are written until the service has applied them.
#[derive(Debug)]
pub struct Beats {
    under_way: Mutex<VecDeque<(u64, Instant)>>,
    newest_ms: AtomicU64,
    /// The newest heartbeat that the service has applied.
    pub applied: watch::Sender<u64>,
    next: AtomicU64,
}

impl Default for Beats {
    fn default() -> Self {
        Self {
            under_way: Mutex::default(),
            newest_ms: AtomicU64::new(0),
            applied: watch::channel(0).0,
            next: AtomicU64::new(1),
        }
    }
}

impl Beats {
    fn under_way(&self) -> std::sync::MutexGuard<'_, VecDeque<(u64, Instant)>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A heartbeat is about to be written; its number.
    pub fn begin(&self) -> u64 {
        let beat = self.next.fetch_add(1, Ordering::Relaxed);
        let mut under_way = self.under_way();
        // The oldest tells how late the stream is; those in the middle tell nothing more.
        if under_way.len() < BEATS_MAX {
            under_way.push_back((beat, clock::instant()));
        }
        beat
    }

    /// The number that the next heartbeat will have.
    pub fn next(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// The service has applied a heartbeat; how long it took, where that is known.
    pub fn arrived(&self, beat: u64) -> Option<f64> {
        let mut under_way = self.under_way();
        let mut lag = None;
        while let Some((number, begun)) = under_way.front().copied().filter(|(number, _)| *number <= beat) {
            under_way.pop_front();
            lag = (number == beat).then(|| begun.elapsed().as_secs_f64() * 1000.0);
        }
        if let Some(ms) = lag {
            self.newest_ms.store(ms as u64, Ordering::Relaxed);
        }
        self.applied.send_replace(beat);
        lag
    }

    /// The newest lag in milliseconds, or the age of the oldest heartbeat under way where that is more.
    pub fn lag_ms(&self) -> u64 {
        let age = self.under_way().front().map_or(0, |(_, begun)| begun.elapsed().as_millis() as u64);
        self.newest_ms.load(Ordering::Relaxed).max(age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_that_does_not_arrive_counts_as_lag() {
        let beats = Beats::default();
        let (first, second) = (beats.begin(), beats.begin());
        assert!(beats.arrived(second).is_some() && beats.arrived(first).is_none());
        assert!(beats.lag_ms() < 1000);
        let begun = clock::instant();
        beats.begin();
        while begun.elapsed().as_millis() < 30 {
            std::thread::yield_now();
        }
        assert!(beats.lag_ms() >= 30);
    }
}
