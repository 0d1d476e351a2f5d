//! What goes into the coordinator and what comes out of it.

use super::durable::Durable;
use super::wish::{Rejection, Wish};
use crate::lease::LeaseView;
use banyan_core::BucketSet;
use banyan_core::protocol::migration::HandoverReport;
use banyan_core::protocol::monolith::{FenceSet, GatesRelease, GatesTake, GatesTaken, MarkWait, SyncStatus};
use banyan_core::protocol::target::{OwnershipClose, OwnershipOpen, TargetOwnership};
use banyan_runtime::clock::Boot;

/// The time of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// On the clock of leases.
    pub boot: Boot,
    /// Milliseconds since 1970, for reports.
    pub unix_ms: u64,
}

/// Names an effect within one term, so that its answer finds it; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EffectId(pub u64);

/// Names a wish of an operator, so that the answer finds who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WishId(pub u64);

/// What happens to a coordinator.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// Leases have changed.
    Leases(LeaseView),
    /// An operator wishes something.
    Wish(WishId, Wish),
    /// A commit is durable.
    Committed {
        /// The effect.
        id: EffectId,
        /// The table's version with it.
        version: u64,
    },
    /// The journal belongs to a coordinator of a later term.
    Deposed,
    /// A call has been answered, or its answer is lost.
    Answered {
        /// The effect.
        id: EffectId,
        /// The answer.
        answer: Answer,
    },
}

/// What a coordinator wants done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Write to the journal, whole or not at all, and publish the table that results.
    Commit {
        /// Names it.
        id: EffectId,
        /// What to write.
        commit: Box<Commit>,
    },
    /// Call sync or the service. A newer call takes the place of one that is still open.
    Call {
        /// Names it.
        id: EffectId,
        /// What to call.
        call: Call,
    },
    /// A wish is durable, or rejected: tell who asked.
    Settle(WishId, Result<(), Rejection>),
}

/// A durable change.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The step that it journals, such as `flip`.
    pub step: &'static str,
    /// The state that results.
    pub next: Durable,
    /// Whether holdings change, so that the table gets a new version.
    pub version: VersionChange,
    /// The record for the audit.
    pub audit: Option<AuditEntry>,
    /// The report of a handover that ends.
    pub report: Option<HandoverReport>,
}

/// Whether a commit changes what gateways route by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionChange {
    /// Holdings change.
    Next,
    /// Holdings stay.
    Same,
}

/// A record of the audit before it is numbered and chained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Who.
    pub by: String,
    /// What, such as `migration.advance`.
    pub action: &'static str,
    /// From what to what.
    pub detail: String,
    /// Why.
    pub reason: String,
}

/// A call to sync or to the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Sync: how the streams are.
    Status,
    /// The service: what it may write.
    Ownership,
    /// Sync: take gates.
    TakeGates(GatesTake),
    /// Sync: release gates.
    ReleaseGates(GatesRelease),
    /// Sync: set the fence.
    SetFence(FenceSet),
    /// Sync: wait for a mark.
    WaitMark(MarkWait),
    /// The service: open buckets.
    Open(OwnershipOpen),
    /// The service: close buckets.
    Close(OwnershipClose),
}

impl Call {
    /// The name of the step.
    pub fn step(&self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Ownership => "ownership",
            Self::TakeGates(_) => "take_gates",
            Self::ReleaseGates(_) => "release_gates",
            Self::SetFence(_) => "set_fence",
            Self::WaitMark(_) => "wait_mark",
            Self::Open(_) => "open",
            Self::Close(_) => "close",
        }
    }
}

/// What a call came to.
#[derive(Clone, Debug)]
pub enum Answer {
    /// To [`Call::Status`].
    Status(Box<SyncStatus>),
    /// To [`Call::Ownership`].
    Ownership(TargetOwnership),
    /// To [`Call::TakeGates`].
    Gates(GatesTaken),
    /// To [`Call::ReleaseGates`].
    Released,
    /// To [`Call::SetFence`], [`Call::Open`] and [`Call::Close`]: whether the guard let it pass.
    Applied(bool),
    /// To [`Call::WaitMark`]: whether the mark was reached.
    Reached(bool),
    /// To [`Call::WaitMark`]: changes of these buckets before the mark are dead letters.
    Parked(BucketSet),
    /// No answer, or an error: the call may or may not have taken effect.
    Failed(String),
}
