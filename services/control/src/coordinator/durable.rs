//! What the journal keeps of one capability. Whatever else a coordinator knows can be forgotten.
//!
//! Invariants: buckets that are not `steady` are exactly those of the attempt; the owner changes in
//! [`Durable::flip`] only; every attempt has an owner epoch above all before it.

use super::forced::Cut;
use banyan_core::bucket;
use banyan_core::ownership::BucketTable;
use banyan_core::protocol::exposure::Exposure;
use banyan_core::{BucketSet, Holding, OwnerEpoch, Phase, Side};
use serde::{Deserialize, Serialize};

/// The durable state of one capability.
#[derive(Clone, Debug, PartialEq)]
pub struct Durable {
    /// The order in which the cohort grows.
    pub seed: u64,
    /// The wanted share at the service.
    pub wanted_percent: f64,
    /// Whether no new handover may start.
    pub paused: bool,
    /// The highest owner epoch that was used.
    pub burned: OwnerEpoch,
    /// Who owns what.
    pub table: BucketTable,
    /// The attempt that runs.
    pub attempt: Option<Attempt>,
    /// Handovers that finished.
    pub handovers: u64,
    /// Handovers that were restored.
    pub aborted: u64,
    /// The forced rollback after which the service has not been admitted again.
    pub cut: Option<Cut>,
}

/// An attempt that has been frozen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// The owner epoch that it burned.
    pub owner_epoch: OwnerEpoch,
    /// Where the buckets go.
    pub to: Side,
    /// The buckets that it still has.
    pub buckets: BucketSet,
    /// The buckets that have left it.
    pub left: BucketSet,
    /// Why they left.
    pub causes: Vec<String>,
    /// How far it has come.
    pub progress: Progress,
    /// The monolith's connection that holds the gates.
    pub connection_id: Option<u64>,
    /// When it began, in milliseconds since 1970.
    pub started_ms: u64,
    /// When it was frozen, in milliseconds since 1970.
    pub frozen_ms: u64,
    /// Whether it goes without the service.
    #[serde(default)]
    pub forced: bool,
    /// For one that goes without the service, from the flip on: what the monolith does not have.
    #[serde(default)]
    pub exposure: Option<Exposure>,
}

/// How far an attempt has come, as the journal knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Writes are held. Neither fence nor service has been touched.
    Frozen,
    /// The gates were had: fence and service may have been touched.
    Marking,
    /// It is being undone.
    Restoring,
    /// The owner has flipped.
    Opening,
}

impl Durable {
    /// The state before the first handover.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            wanted_percent: 0.0,
            paused: false,
            burned: Holding::INITIAL.owner_epoch,
            table: BucketTable::default(),
            attempt: None,
            handovers: 0,
            aborted: 0,
            cut: None,
        }
    }

    /// The buckets that the service owns.
    pub fn service_buckets(&self) -> BucketSet {
        self.table.filter(|h| h.owner == Side::Service)
    }

    /// The buckets that are wanted at the service.
    pub fn wanted(&self) -> BucketSet {
        bucket::cohort(self.seed, self.wanted_percent)
    }

    /// The owner epoch of the next attempt.
    pub fn next_epoch(&self) -> OwnerEpoch {
        OwnerEpoch(self.burned.0 + 1)
    }

    /// The buckets by the owner epoch in which their present owner writes.
    pub fn by_epoch(&self, buckets: &BucketSet) -> Vec<(OwnerEpoch, BucketSet)> {
        let mut groups: Vec<(OwnerEpoch, BucketSet)> = Vec::new();
        for bucket in buckets.iter() {
            let epoch = self.table.get(bucket).owner_epoch;
            match groups.iter_mut().find(|(known, _)| *known == epoch) {
                Some((_, group)) => {
                    group.insert(bucket);
                }
                None => groups.push((epoch, [bucket].into_iter().collect())),
            }
        }
        groups
    }

    /// Begins an attempt: its owner epoch is burned, its buckets are held.
    pub fn freeze(&mut self, attempt: Attempt) {
        self.burned = attempt.owner_epoch;
        self.change(&attempt.buckets, |h| h.phase = Phase::Moving);
        self.attempt = Some(attempt);
    }

    /// The gates are held; the buckets that could not be had leave the attempt.
    pub fn gates_held(&mut self, held: &BucketSet, connection_id: u64, causes: Vec<String>) {
        let attempt = self.running();
        let left = attempt.buckets.difference(held);
        attempt.buckets = attempt.buckets.intersection(held);
        attempt.left = attempt.left.union(&left);
        attempt.causes.extend(causes);
        attempt.connection_id = Some(connection_id);
        attempt.progress = Progress::Marking;
        self.change(&left, |h| h.phase = Phase::Steady);
    }

    /// Before the first undo.
    pub fn restoring(&mut self) {
        let attempt = self.running();
        attempt.progress = Progress::Restoring;
        let buckets = attempt.buckets.clone();
        self.change(&buckets, |h| h.phase = Phase::Restoring);
    }

    /// Everything is as it was before the attempt, but for the owner epoch that it burned.
    pub fn restored(&mut self) -> Attempt {
        let attempt = self.end();
        self.aborted += 1;
        attempt
    }

    /// The owner changes.
    pub fn flip(&mut self) {
        let attempt = self.running();
        attempt.progress = Progress::Opening;
        let (owner, owner_epoch) = (attempt.to, attempt.owner_epoch);
        let buckets = attempt.buckets.clone();
        self.change(&buckets, |h| *h = Holding { owner, phase: Phase::Opening, owner_epoch });
    }

    /// The new owner's writes are released.
    pub fn steady(&mut self) -> Attempt {
        let attempt = self.end();
        self.handovers += 1;
        attempt
    }

    fn end(&mut self) -> Attempt {
        let attempt = self.running().clone();
        self.change(&attempt.buckets, |h| h.phase = Phase::Steady);
        self.attempt = None;
        attempt
    }

    pub(super) fn running(&mut self) -> &mut Attempt {
        self.attempt.as_mut().expect("only a stage of a running attempt changes it")
    }

    fn change(&mut self, buckets: &BucketSet, with: impl Fn(&mut Holding)) {
        for bucket in buckets.iter() {
            let mut holding = self.table.get(bucket);
            with(&mut holding);
            self.table.set(bucket, holding);
        }
    }
}
