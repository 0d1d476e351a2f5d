//! Operator to sync: events of a service that came after the monolith had taken over without it.

use super::target::OutboxEvent;
use serde::{Deserialize, Serialize};

/// `GET /v1/conflicts?capability=NAME` (a list of those that are open, oldest first) and
/// `GET /v1/conflicts/{id}?capability=NAME`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conflict {
    /// Its number.
    pub id: u64,
    /// Which outbox it comes from.
    pub incarnation: String,
    /// What the service did.
    pub event: OutboxEvent,
    /// When it was queued, in UTC as MySQL prints it.
    pub queued_at: String,
    /// What became of it; `None` while it is open.
    pub settled: Option<Settled>,
}

/// What became of a conflict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// `replayed` or `discarded`.
    pub how: String,
    /// Who decided.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When, in UTC as MySQL prints it.
    pub at: String,
}

/// `POST /v1/conflicts/{id}/replay` and `…/discard`; answered by the [`Conflict`] as it is then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settle {
    /// The capability.
    pub capability: String,
    /// Who decides, at most 200 bytes.
    pub by: String,
    /// Why; 1 to 2000 bytes.
    pub reason: String,
}
