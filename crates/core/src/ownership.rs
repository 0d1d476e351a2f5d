//! Who may write: owners, phases, owner epochs and the turn that fences old coordinators out.

use crate::bucket::{BUCKETS, Bucket, BucketSet};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// One of the two sides that can own a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The old system.
    Monolith,
    /// The service that takes the capability over.
    Service,
}

impl Side {
    /// The opposite side.
    pub fn other(self) -> Self {
        match self {
            Self::Monolith => Self::Service,
            Self::Service => Self::Monolith,
        }
    }

    /// The word used in JSON, SQL and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Monolith => "monolith",
            Self::Service => "service",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a bucket stands in a handover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Reads and writes go to the owner.
    Steady,
    /// Being handed over: writes are held, reads go to the owner.
    Moving,
    /// An attempt is being undone: writes are held, reads go to the owner.
    Restoring,
    /// The owner has flipped: reads go to the new owner, writes are held until every gateway does so.
    Opening,
}

impl Phase {
    /// Whether a gateway holds new writes.
    pub fn holds_writes(self) -> bool {
        self != Self::Steady
    }

    /// The word used in JSON, SQL and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Moving => "moving",
            Self::Restoring => "restoring",
            Self::Opening => "opening",
        }
    }
}

/// Counts the ownerships of a capability's buckets; burned by every attempt, never used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OwnerEpoch(pub u64);

impl fmt::Display for OwnerEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A coordinator's newest step; fence and service obey only a turn above every one they have seen.
///
/// `term` counts coordinators, `attempt` is the owner epoch that the attempt burned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Turn {
    /// The coordinator's term.
    pub term: u64,
    /// The attempt: the owner epoch burned for it.
    pub attempt: u64,
    /// The step within the attempt.
    pub step: u32,
}

/// One bucket's ownership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Holding {
    /// The side that may write in `steady`, and that serves reads in every phase.
    pub owner: Side,
    /// The phase of the handover.
    pub phase: Phase,
    /// The owner epoch in which the owner writes.
    pub owner_epoch: OwnerEpoch,
}

impl Holding {
    /// What every bucket starts with.
    pub const INITIAL: Self =
        Self { owner: Side::Monolith, phase: Phase::Steady, owner_epoch: OwnerEpoch(1) };
}

/// Buckets of one capability that share a holding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnershipRun {
    /// The buckets.
    pub buckets: BucketSet,
    /// Their common holding.
    #[serde(flatten)]
    pub holding: Holding,
}

/// All buckets of one capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketTable {
    holdings: Vec<Holding>,
}

impl Default for BucketTable {
    fn default() -> Self {
        Self { holdings: vec![Holding::INITIAL; usize::from(BUCKETS)] }
    }
}

impl BucketTable {
    /// The holding of one bucket.
    pub fn get(&self, bucket: Bucket) -> Holding {
        self.holdings[usize::from(bucket.number())]
    }

    /// Replaces the holding of one bucket.
    pub fn set(&mut self, bucket: Bucket, holding: Holding) {
        self.holdings[usize::from(bucket.number())] = holding;
    }

    /// The buckets whose holding satisfies the condition.
    pub fn filter(&self, matches: impl Fn(&Holding) -> bool) -> BucketSet {
        (0..BUCKETS).filter_map(|n| Bucket::try_from(n).ok()).filter(|b| matches(&self.get(*b))).collect()
    }

    /// The buckets grouped by holding, for the wire.
    pub fn runs(&self) -> Vec<OwnershipRun> {
        let mut runs: Vec<OwnershipRun> = Vec::new();
        for bucket in (0..BUCKETS).filter_map(|n| Bucket::try_from(n).ok()) {
            let holding = self.get(bucket);
            match runs.iter_mut().find(|r| r.holding == holding) {
                Some(run) => {
                    run.buckets.insert(bucket);
                }
                None => runs.push(OwnershipRun { buckets: [bucket].into_iter().collect(), holding }),
            }
        }
        runs
    }

    /// Rebuilds a table from its runs; buckets that no run names keep [`Holding::INITIAL`].
    pub fn from_runs(runs: &[OwnershipRun]) -> Self {
        let mut table = Self::default();
        for run in runs {
            run.buckets.iter().for_each(|b| table.set(b, run.holding));
        }
        table
    }
}

impl Serialize for BucketTable {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.runs().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for BucketTable {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from_runs(&Vec::<OwnershipRun>::deserialize(deserializer)?))
    }
}

/// The snapshot that control grants with a lease: every capability's buckets at one version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnershipTable {
    /// Grows with every change, across restarts of control.
    pub version: u64,
    /// Tables by capability name.
    pub capabilities: BTreeMap<String, BucketTable>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_survives_its_wire_form() {
        let mut table = BucketTable::default();
        let moving = Holding { owner: Side::Service, phase: Phase::Moving, owner_epoch: OwnerEpoch(9) };
        [0, 5, 4095].into_iter().for_each(|n| table.set(Bucket::try_from(n).unwrap(), moving));
        let text = serde_json::to_string(&table).unwrap();
        assert_eq!(serde_json::from_str::<BucketTable>(&text).unwrap(), table);
        assert_eq!(table.filter(|h| *h == moving).to_string(), "0,5,4095");
    }

    #[test]
    fn turns_order_by_term_then_attempt_then_step() {
        let turn = |term, attempt, step| Turn { term, attempt, step };
        assert!(
            turn(2, 1, 1) > turn(1, 9, 9) && turn(1, 2, 0) > turn(1, 1, 9) && turn(1, 1, 2) > turn(1, 1, 1)
        );
    }
}
