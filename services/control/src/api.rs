//! The routes. Translates, never decides.

use crate::coordinator::wish::{Action, Wish};
use crate::driver::Handle;
use crate::error::Fault;
use crate::grants::Grants;
use crate::journal::Journal;
use crate::journal::audit::Verdict;
use crate::lease::record_of;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use banyan_core::protocol::lease::{LEASES_PATH, LeaseGrant, LeaseKind, LeaseRequest};
use banyan_core::protocol::migration::{
    AuditRecord, HandoverOutcome, HandoverReport, MigrationStatus, MoveRequest,
};
use banyan_runtime::http::{Problem, metrics_route, role_only};
use banyan_runtime::secrets::RoleToken;
use banyan_runtime::tasks::Shutdown;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How many records of the audit one answer has.
const AUDIT_PAGE: u64 = 500;
/// How many handovers are listed where no limit is named.
const HANDOVERS_DEFAULT: u64 = 50;
/// The longest name of who asks, in bytes.
const BY_BYTES_MAX: usize = 200;
/// The longest reason, in bytes.
const REASON_BYTES_MAX: usize = 2000;
/// A share counts as reached within this, in percent: a cohort has whole buckets.
const REACHED_WITHIN: f64 = 0.05;

/// What the routes answer from.
pub struct Control {
    /// The coordinators by capability.
    pub coordinators: BTreeMap<String, Handle>,
    /// The journal.
    pub journal: Journal,
    /// The leases.
    pub grants: Grants,
    /// How long a lease lasts.
    pub lease: Duration,
    /// How long a command may wait at most.
    pub wait_max: Duration,
    /// The request to end.
    pub shutdown: Shutdown,
}

type Shared = State<Arc<Control>>;
type Answer<T> = Result<Json<T>, Problem>;

/// The routes.
pub fn router(control: Control, token: &RoleToken) -> Router {
    let roles = Router::new()
        .route(LEASES_PATH, post(lease))
        .route("/v1/leases/{holder}", delete(give_back))
        .route("/v1/migrations", get(migrations))
        .route("/v1/migrations/{capability}", get(migration))
        .route("/v1/migrations/{capability}/{action}", post(change))
        .route("/v1/handovers", get(handovers))
        .route("/v1/audit", get(audit))
        .route("/v1/audit/verify", get(verify_audit))
        .with_state(Arc::new(control));
    role_only(roles, token).merge(metrics_route())
}

/// The lease counts from the receipt; the table is read afterwards, so whoever is granted a lease is either
/// seen by the coordinator or has the newest table.
async fn lease(
    State(control): Shared,
    request: Result<Json<LeaseRequest>, JsonRejection>,
) -> Answer<LeaseGrant> {
    let request = body(request)?;
    let mut tables = control.journal.table();
    let published = tables.borrow_and_update().version;
    // Before: who is refused does not count. After: who was not refused has been seen.
    control.admit(&request.kind)?;
    // Journalled before the first grant: what a gateway acknowledges is never forgotten with control.
    let record = record_of(&request.holder);
    if request.kind == LeaseKind::Gateway && !control.grants.knows(record) {
        control.journal.note_gateway(record, true).await.map_err(Fault::from)?;
    }
    control.grants.renew(&request, published).map_err(Fault::Lease)?;
    control.admit(&request.kind)?;
    let wait = Duration::from_millis(request.wait_ms).min(control.lease / 3);
    if request.seen_version == published {
        tokio::select! {
            _ = tokio::time::timeout(wait, tables.changed()) => {}
            () = control.shutdown.requested() => {}
        }
    }
    let table = Arc::clone(&tables.borrow());
    Ok(Json(LeaseGrant {
        lease_ms: u64::try_from(control.lease.as_millis()).unwrap_or(u64::MAX),
        version: table.version,
        table: (table.version != request.seen_version).then(|| (*table).clone()),
        forced: control.journal.barred().iter().cloned().collect(),
    }))
}

async fn give_back(State(control): Shared, Path(holder): Path<String>) -> Result<StatusCode, Problem> {
    control.grants.give_back(&holder);
    control.journal.note_gateway(record_of(&holder), false).await.map_err(Fault::from)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn migrations(State(control): Shared) -> Json<Vec<MigrationStatus>> {
    let status = |handle: &Handle| MigrationStatus::clone(&handle.status().borrow());
    Json(control.coordinators.values().map(status).collect())
}

async fn migration(State(control): Shared, Path(name): Path<String>) -> Answer<MigrationStatus> {
    let handle = control.coordinator(&name)?;
    let status = MigrationStatus::clone(&handle.status().borrow());
    Ok(Json(status))
}

async fn change(
    State(control): Shared,
    Path((name, action)): Path<(String, String)>,
    request: Result<Json<MoveRequest>, JsonRejection>,
) -> Answer<MigrationStatus> {
    let request = body(request)?;
    let handle = control.coordinator(&name)?;
    let action = match action.as_str() {
        "advance" => Action::Advance(request.percent),
        "rollback" => Action::Rollback(request.percent),
        "force" => Action::Force,
        "pause" => Action::Pause,
        "resume" => Action::Resume,
        _ => return Err(Fault::UnknownAction(action).into()),
    };
    if request.by.len() > BY_BYTES_MAX || request.reason.len() > REASON_BYTES_MAX {
        let detail = format!("`by` has at most {BY_BYTES_MAX} bytes, `reason` at most {REASON_BYTES_MAX}");
        return Err(Fault::Malformed(detail).into());
    }
    handle.wish(Wish { action, by: request.by, reason: request.reason }).await?;
    let mut status = handle.status();
    let wait = Duration::from_millis(request.wait_ms).min(control.wait_max);
    if matches!(action, Action::Advance(_) | Action::Rollback(_) | Action::Force) {
        tokio::select! {
            _ = tokio::time::timeout(wait, status.wait_for(|status| has_arrived(status))) => {}
            () = control.shutdown.requested() => {}
        }
    }
    let status = MigrationStatus::clone(&status.borrow());
    Ok(Json(status))
}

/// Whether every bucket is where it is wanted and no handover runs.
fn has_arrived(status: &MigrationStatus) -> bool {
    let runs = status.handover.as_ref().is_some_and(|h| h.outcome == HandoverOutcome::Running);
    let reached = (status.percent - status.wanted_percent).abs() < REACHED_WITHIN;
    reached && status.stragglers.is_empty() && !runs
}

#[derive(Deserialize)]
struct HandoversQuery {
    capability: String,
    limit: Option<u64>,
}

async fn handovers(
    State(control): Shared,
    query: Result<Query<HandoversQuery>, QueryRejection>,
) -> Answer<Vec<HandoverReport>> {
    let query = query.map_err(|e| Fault::Malformed(e.body_text()))?.0;
    control.coordinator(&query.capability)?;
    let limit = query.limit.unwrap_or(HANDOVERS_DEFAULT);
    Ok(Json(control.journal.handovers(&query.capability, limit).await.map_err(Fault::from)?))
}

#[derive(Deserialize)]
struct AuditQuery {
    #[serde(default)]
    after: u64,
}

async fn audit(
    State(control): Shared,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Answer<Vec<AuditRecord>> {
    let after = query.map_err(|e| Fault::Malformed(e.body_text()))?.after.min(i64::MAX as u64);
    Ok(Json(control.journal.audit(after, AUDIT_PAGE).await.map_err(Fault::from)?))
}

async fn verify_audit(State(control): Shared) -> Answer<Value> {
    match control.journal.verify_audit().await.map_err(Fault::from)? {
        Verdict::Whole(records) => Ok(Json(json!({ "records": records }))),
        Verdict::Broken(id) => Err(Fault::AuditBroken(id).into()),
    }
}

impl Control {
    /// Refuses a service that is given up.
    fn admit(&self, kind: &LeaseKind) -> Result<(), Fault> {
        match kind {
            LeaseKind::Service { capability } if self.journal.barred().contains(capability) => {
                Err(Fault::Barred(capability.clone()))
            }
            _ => Ok(()),
        }
    }

    fn coordinator(&self, name: &str) -> Result<&Handle, Fault> {
        self.coordinators.get(name).ok_or_else(|| Fault::UnknownCapability(name.into()))
    }
}

fn body<T>(request: Result<Json<T>, JsonRejection>) -> Result<T, Fault> {
    request.map(|Json(body)| body).map_err(|rejection| Fault::Malformed(rejection.body_text()))
}
