//! The routes, all for roles. Translates, never decides.

use crate::capture::Capture;
use crate::error::Fault;
use crate::fence::{self, Installed};
use crate::{blocks, status, verify};
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use banyan_core::BucketSet;
use banyan_core::protocol::import::ImportState;
use banyan_core::protocol::monolith::{
    Applied, BlockRequest, Direction, FenceSet, GatesRelease, GatesTake, GatesTaken, IdBlock, MarkReached,
    MarkWait, OfCapability, SyncStatus, VerifyReport,
};
use banyan_runtime::http::{Problem, metrics_route, role_only};
use banyan_runtime::secrets::RoleToken;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The largest request, in bytes: a set of buckets has at most some 10 KiB.
const REQUEST_BYTES_MAX: usize = 64 << 10;
/// The longest wait for a mark.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What the routes answer from: captures by capability.
#[derive(Clone)]
pub struct Captures(pub Arc<BTreeMap<String, Arc<Capture>>>);

impl Captures {
    fn of(&self, capability: &str) -> Result<&Arc<Capture>, Fault> {
        self.0.get(capability).ok_or_else(|| Fault::UnknownCapability(capability.into()))
    }
}

/// The routes.
pub fn router(captures: Captures, token: &RoleToken) -> Router {
    let roles = Router::new()
        .route("/v1/gates/take", post(gates_take))
        .route("/v1/gates/release", post(gates_release))
        .route("/v1/fence/set", post(fence_set))
        .route("/v1/marks/wait", post(marks_wait))
        .route("/v1/verify", post(verify_all))
        .route("/v1/blocks", post(block))
        .route("/v1/fence/install", post(fence_install))
        .route("/v1/fence/remove", post(fence_remove))
        .route("/v1/fence", get(fence_inspect))
        .route("/v1/status", get(sync_status))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(captures);
    role_only(roles, token).merge(metrics_route())
}

type Body<T> = Result<Json<T>, JsonRejection>;
type Asked = Result<Query<OfCapability>, QueryRejection>;
type Answer<T> = Result<Json<T>, Problem>;

fn body<T>(request: Body<T>) -> Result<T, Fault> {
    request.map(|Json(body)| body).map_err(|rejection| Fault::Malformed(rejection.body_text()))
}

fn answer<T>(outcome: Result<T, Fault>) -> Answer<T> {
    outcome.map(Json).map_err(|fault| {
        let problem = Problem::from(fault);
        tracing::warn!(%problem, "a request was not answered");
        problem
    })
}

async fn gates_take(State(all): State<Captures>, request: Body<GatesTake>) -> Answer<GatesTaken> {
    let command = body(request)?;
    answer(all.of(&command.capability)?.gates.take(&command).await)
}

async fn gates_release(
    State(all): State<Captures>,
    request: Body<GatesRelease>,
) -> Result<StatusCode, Problem> {
    let command = body(request)?;
    answer(all.of(&command.capability)?.gates.release(&command).await).map(|_| StatusCode::NO_CONTENT)
}

async fn fence_set(State(all): State<Captures>, request: Body<FenceSet>) -> Answer<Applied> {
    let command = body(request)?;
    answer(fence::set::set(all.of(&command.capability)?, &command).await)
}

async fn marks_wait(State(all): State<Captures>, request: Body<MarkWait>) -> Answer<MarkReached> {
    let wait = body(request)?;
    let limit = Duration::from_millis(wait.wait_ms).min(WAIT_MAX);
    let capture = all.of(&wait.capability)?;
    let reached = capture.marks.wait(wait.direction, wait.owner_epoch, limit).await;
    let mut dead_letters = BucketSet::empty();
    if reached && wait.direction == Direction::Forward {
        // A letter never stops the stream, so the mark alone does not say that all before it took effect.
        let state: ImportState = answer(capture.service.get("/v1/import").await.map_err(Fault::from))?.0;
        dead_letters = state.dead_letter_buckets.intersection(&wait.buckets);
    }
    Ok(Json(MarkReached { reached: reached && dead_letters.is_empty(), dead_letters }))
}

async fn verify_all(State(all): State<Captures>, request: Body<OfCapability>) -> Answer<VerifyReport> {
    let of = body(request)?;
    answer(verify::verify(all.of(&of.capability)?).await)
}

async fn block(State(all): State<Captures>, request: Body<BlockRequest>) -> Answer<IdBlock> {
    let request = body(request)?;
    answer(blocks::lease(all.of(&request.capability)?, &request).await)
}

async fn fence_install(State(all): State<Captures>, request: Body<OfCapability>) -> Answer<Installed> {
    let of = body(request)?;
    answer(fence::install(all.of(&of.capability)?).await)
}

async fn fence_remove(State(all): State<Captures>, request: Body<OfCapability>) -> Answer<Installed> {
    let of = body(request)?;
    answer(fence::remove(all.of(&of.capability)?).await)
}

async fn fence_inspect(State(all): State<Captures>, request: Asked) -> Answer<Installed> {
    let Query(of) = request.map_err(|rejection| Fault::Malformed(rejection.body_text()))?;
    answer(inspect(all.of(&of.capability)?).await)
}

async fn inspect(capture: &Capture) -> Result<Installed, Fault> {
    capture.catalog().await?;
    let mut lease = capture.questions.lease().await?;
    let installed = fence::inspect(capture, &mut lease.connection).await?;
    lease.keep();
    Ok(installed)
}

async fn sync_status(State(all): State<Captures>, request: Asked) -> Answer<SyncStatus> {
    let Query(of) = request.map_err(|rejection| Fault::Malformed(rejection.body_text()))?;
    Ok(Json(status::status(all.of(&of.capability)?).await))
}
