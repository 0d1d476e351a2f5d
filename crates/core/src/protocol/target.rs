//! Control and sync to a service that takes a capability over: ownership, outbox, rows.

use crate::row::RowWrite;
use crate::{Bucket, BucketSet, OwnerEpoch, Row, Turn};
use serde::{Deserialize, Serialize};

/// `POST /v1/ownership/open`: the service may write these buckets from now on, in this owner epoch.
/// Answered by [`super::monolith::Applied`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnershipOpen {
    /// Must be above the service's guard of every bucket.
    pub turn: Turn,
    /// The buckets.
    pub buckets: BucketSet,
    /// The owner epoch that writes must carry.
    pub owner_epoch: OwnerEpoch,
}

/// `POST /v1/ownership/close`: the service refuses writes of these buckets from now on and appends one
/// mark, carrying `owner_epoch`, to its outbox behind all their events, in one commit. Work in flight
/// outside the database (a mail being sent) is waited for first. Answered by `Applied`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnershipClose {
    /// Must be above the service's guard of every bucket.
    pub turn: Turn,
    /// The buckets.
    pub buckets: BucketSet,
    /// Identifies the mark: the attempt's owner epoch.
    pub owner_epoch: OwnerEpoch,
}

/// One event of a service's outbox, in commit order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutboxEvent {
    /// Its position; grows by any amount, never passes an uncommitted lower one.
    pub position: u64,
    /// CloudEvents `type`, such as `notification.read`; `banyan.mark` for a mark.
    pub kind: String,
    /// The subject, empty for a mark.
    pub subject: String,
    /// The subject's bucket; `None` for a mark.
    pub bucket: Option<Bucket>,
    /// The rows that the event means in the monolith.
    pub rows: Vec<RowWrite>,
    /// For a mark: the owner epoch of the close that wrote it.
    pub mark: Option<OwnerEpoch>,
    /// When it was committed, in milliseconds since 1970.
    pub committed_ms: u64,
    /// W3C trace context of the request that caused it.
    pub traceparent: Option<String>,
}

/// `GET /v1/outbox?after=POSITION&limit=N&wait_ms=M`: the events above a position; waits for one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutboxPage {
    /// Identifies the database that numbers the positions; changes when it is made anew or restored.
    pub incarnation: String,
    /// The events, ascending.
    pub events: Vec<OutboxEvent>,
    /// The highest committed position.
    pub head: u64,
}

/// `GET /v1/rows?table=NAME&after=KEY&limit=N`: rows in the monolith's shape, ascending by key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowsPage {
    /// The rows.
    pub rows: Vec<Row>,
    /// Whether there are more behind the last.
    pub more: bool,
}

/// `GET /v1/ownership`: the service's own fence, for checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetOwnership {
    /// Whether its lease is valid; without one it refuses all writes of owned capabilities.
    pub leased: bool,
    /// The buckets it may write, by owner epoch.
    pub open: Vec<(OwnerEpoch, BucketSet)>,
}
