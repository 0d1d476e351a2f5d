//! Control to sync: gates, fence, watermarks, verification and blocks of ids at the monolith.

use crate::row::FenceOwner;
use crate::{BucketSet, OwnerEpoch, Turn};
use serde::{Deserialize, Serialize};

/// `POST /v1/gates/take`: takes the gate rows exclusively, by NOWAIT with retries, never queueing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatesTake {
    /// The capability.
    pub capability: String,
    /// The coordinator's turn; gates of a lower turn of this capability are released first.
    pub turn: Turn,
    /// The buckets wanted.
    pub buckets: BucketSet,
    /// How long to retry for the whole set; then whatever can be had at once is taken.
    pub patience_ms: u64,
}

/// The gates that were taken; they are held by one connection until released, killed or lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatesTaken {
    /// The monolith's id of the connection that holds the gates.
    pub connection_id: u64,
    /// The buckets whose gates are held.
    pub taken: BucketSet,
    /// The open transactions that probably hold the others, oldest first; empty when all were taken.
    pub holders: Vec<OpenTransaction>,
    /// Prepared XA transactions (`XA RECOVER`), read while the gates are held; must be 0 to go on.
    pub xa_prepared: u64,
}

/// An open transaction of the monolith's database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTransaction {
    /// Its connection id.
    pub connection_id: u64,
    /// Its database user.
    pub user: String,
    /// Since when it is open, in milliseconds.
    pub age_ms: u64,
    /// The statement it runs, where it runs one (at most 200 characters).
    pub statement: Option<String>,
}

/// `POST /v1/gates/release` (204, also when nothing is held).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatesRelease {
    /// The capability.
    pub capability: String,
    /// The attempt whose gates to release (`Turn::attempt`).
    pub attempt: u64,
    /// A connection to kill at the monolith, journalled by a predecessor.
    pub kill_connection_id: Option<u64>,
}

/// `POST /v1/fence/set`: guard and fence in one transaction on a connection of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceSet {
    /// The capability.
    pub capability: String,
    /// Must be above the guard of every bucket, or nothing changes.
    pub turn: Turn,
    /// The buckets.
    pub buckets: BucketSet,
    /// The new fence.
    pub owner: FenceOwner,
    /// The owner epoch written with it; with `moving` it identifies the watermark.
    pub owner_epoch: OwnerEpoch,
}

/// Whether a guarded command took effect. An error answer means: unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// False where the guard had seen an equal or higher turn; then nothing changed.
    pub applied: bool,
}

/// `POST /v1/marks/wait`: waits until the other side has committed everything up to the mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkWait {
    /// The capability.
    pub capability: String,
    /// Which stream.
    pub direction: Direction,
    /// The owner epoch that the mark carries (the attempt).
    pub owner_epoch: OwnerEpoch,
    /// The buckets that it closes: a dead letter in one of them keeps a forward mark back.
    pub buckets: BucketSet,
    /// How long to wait at most.
    pub wait_ms: u64,
}

/// The two streams between the sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Monolith to service: the mark is the fence's row event `moving`.
    Forward,
    /// Service to monolith: the mark is the outbox event of a close.
    Reverse,
}

/// The answer to [`MarkWait`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkReached {
    /// False where the time ran out first, or where a change before the mark could not be applied.
    pub reached: bool,
    /// The buckets whose changes could not all be applied.
    pub dead_letters: BucketSet,
}

/// `GET /v1/status?capability=NAME`: what prepare looks at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SyncStatus {
    /// The capability.
    pub capability: String,
    /// Whether triggers, gates and fences are all in place.
    pub fence_installed: bool,
    /// Whether every table has been copied.
    pub copied: bool,
    /// Rows copied so far, and an estimate of all.
    pub copy_rows: u64,
    /// The estimate of all rows to copy.
    pub copy_rows_estimated: u64,
    /// Whether the forward stream is connected.
    pub forward_live: bool,
    /// Whether the reverse stream is connected.
    pub reverse_live: bool,
    /// The newest forward lag in milliseconds: heartbeat written to heartbeat applied.
    pub forward_lag_ms: u64,
    /// The newest reverse lag in milliseconds: event committed to row committed.
    pub reverse_lag_ms: u64,
    /// Lag samples of both streams since the start, in milliseconds.
    pub lag_ms: crate::protocol::migration::Quantiles,
    /// Buckets with a dead letter or a conflict.
    pub dead_letter_buckets: BucketSet,
    /// Prepared XA transactions at the monolith.
    pub xa_prepared: u64,
    /// The newest verification, if one has finished.
    pub verified: Option<VerifyReport>,
    /// What else is wrong, for people.
    pub faults: Vec<String>,
}

/// `POST /v1/verify` with `{"capability": NAME}`: compares both sides row by row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Rows present on at least one side and compared.
    pub rows_compared: u64,
    /// Rows that still differ after the lag has passed.
    pub mismatches: u64,
    /// The first few differences in words.
    pub samples: Vec<String>,
}

/// Names a capability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfCapability {
    /// The capability.
    pub capability: String,
}

/// `POST /v1/blocks`: leases a block of ids from the monolith's AUTO_INCREMENT counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRequest {
    /// The capability.
    pub capability: String,
    /// The table.
    pub table: String,
    /// How many ids are wanted, 1..=100000; the block may be smaller.
    pub size: u64,
}

/// A block of ids that only the service may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdBlock {
    /// The first id.
    pub first: u64,
    /// The last id.
    pub last: u64,
}
