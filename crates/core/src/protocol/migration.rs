//! The public control API: migrations, handovers, audit.

use super::exposure::Exposure;
use crate::{BucketSet, OwnerEpoch, Side};
use serde::{Deserialize, Serialize};

/// `GET /v1/migrations` (a list) and `GET /v1/migrations/{capability}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MigrationStatus {
    /// The capability.
    pub capability: String,
    /// The team that owns it.
    pub owner: String,
    /// The wanted share at the service, in percent.
    pub wanted_percent: f64,
    /// The reached share, in percent.
    pub percent: f64,
    /// Whether handovers are paused.
    pub paused: bool,
    /// Buckets owned by the service.
    pub service_buckets: BucketSet,
    /// Wanted buckets that could not be moved yet; they are retried until they move.
    pub stragglers: BucketSet,
    /// Why the stragglers wait, in words.
    pub waiting_for: Vec<String>,
    /// The handover that runs, or the newest one.
    pub handover: Option<HandoverReport>,
    /// Handovers that finished since the beginning.
    pub handovers: u64,
    /// Handovers that were restored since the beginning.
    pub aborted: u64,
    /// The table's version.
    pub version: u64,
    /// The forced rollback after which the service has not been admitted again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<CutStatus>,
    /// Writes that gateways acknowledged though the monolith had not committed them in time
    /// (`dual_write = "wait"`), since each of these gateways started.
    #[serde(default)]
    pub degraded_writes: u64,
}

/// A forced rollback.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CutStatus {
    /// When it was asked for, in milliseconds since 1970.
    pub since_ms: u64,
    /// Who asked for it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Whether an advance has asked to admit the service again.
    pub readmitting: bool,
    /// What the monolith did not have of the service when it took over.
    pub exposure: Exposure,
}

/// `POST /v1/migrations/{capability}/advance`, `…/rollback` and `…/force` (a forced rollback, which needs a
/// reason); answered by [`MigrationStatus`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MoveRequest {
    /// The wanted share in percent; without it, the next step up, or 0 for a rollback.
    pub percent: Option<f64>,
    /// Who asks, for the audit.
    pub by: String,
    /// Why, for the audit.
    pub reason: String,
    /// How long to keep the request open until the wanted share is reached, in milliseconds.
    pub wait_ms: u64,
}

/// One handover (`GET /v1/handovers?capability=NAME`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HandoverReport {
    /// The owner epoch that it burned.
    pub owner_epoch: OwnerEpoch,
    /// The capability.
    pub capability: String,
    /// Where the buckets go.
    pub to: Side,
    /// The buckets that moved, or are moving.
    pub buckets: BucketSet,
    /// The buckets that left the attempt.
    pub left: BucketSet,
    /// Why they left, or why the handover was restored.
    pub causes: Vec<String>,
    /// How it stands: `running`, `done` or `restored`.
    pub outcome: HandoverOutcome,
    /// Start, in milliseconds since 1970.
    pub started_ms: u64,
    /// Milliseconds from freeze to release of the writes; 0 while it runs.
    pub hold_ms: u64,
    /// Duration by step, in the order they ran.
    pub steps: Vec<(String, u64)>,
    /// For a forced rollback: what the monolith did not have of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<Exposure>,
}

/// How a handover stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HandoverOutcome {
    /// Still running.
    Running,
    /// Finished: the owner has flipped.
    Done,
    /// Undone: the owner is who it was.
    Restored,
}

/// One record of the audit (`GET /v1/audit`), hash chained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Its number.
    pub id: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Who.
    pub by: String,
    /// What, such as `migration.advance`.
    pub action: String,
    /// From what to what, in words or JSON.
    pub detail: String,
    /// Why.
    pub reason: String,
    /// SHA-256 over the previous record's hash and this record, in hex.
    pub hash: String,
}

/// A summary of measured durations, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// How many samples.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}
