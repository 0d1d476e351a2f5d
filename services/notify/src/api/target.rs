//! The routes for control and sync: import, ownership, outbox, rows, letters. Translates, never decides.

use super::Service;
use crate::domain::{Answer, Command};
use crate::error;
use crate::store::reads;
use crate::worker::sender::TRACER;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use banyan_core::protocol::import::{
    DeadLetter, Discard, ImportBatch, ImportOutcome, ImportState, ImportTrace,
};
use banyan_core::protocol::monolith::Applied;
use banyan_core::protocol::target::{OutboxPage, OwnershipClose, OwnershipOpen, RowsPage, TargetOwnership};
use banyan_runtime::clock::Boot;
use banyan_runtime::http::Problem;
use banyan_runtime::trace::{Kind, Span, SpanContext};
use banyan_store::{Fault, import, letters, ownership};
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// The routes; `import_bytes_max` bounds a batch.
pub fn routes(import_bytes_max: usize) -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/import", get(import_state).post(import_batch))
        .route("/v1/ownership", get(show_ownership))
        .route("/v1/ownership/open", post(open))
        .route("/v1/ownership/close", post(close))
        .route("/v1/outbox", get(outbox))
        .route("/v1/rows", get(rows))
        .route("/v1/letters", get(list_letters))
        .route("/v1/letters/{id}/retry", post(retry_letter))
        .route("/v1/letters/{id}/discard", post(discard_letter))
        .layer(DefaultBodyLimit::max(import_bytes_max))
}

type Called = State<Arc<Service>>;
type Body<T> = Result<Json<T>, JsonRejection>;

fn body<T>(body: Body<T>) -> Result<T, Problem> {
    body.map(|Json(body)| body).map_err(|rejection| malformed(rejection.body_text()))
}

fn malformed(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed_request", detail)
}

async fn read<T: Send + 'static>(
    service: &Service,
    read: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
) -> Result<T, Problem> {
    service.readers.read(read).await.map_err(|fault| error::fault_problem(&fault))
}

async fn command(service: &Service, command: Command) -> Result<Answer, Problem> {
    let answered = service.shell.execute(command).await.map_err(error::problem)?;
    Ok(answered.answer)
}

async fn import_state(State(service): Called) -> Result<Json<ImportState>, Problem> {
    read(&service, import::state).await.map(Json)
}

async fn import_batch(
    State(service): Called,
    batch: Body<ImportBatch>,
) -> Result<Json<ImportOutcome>, Problem> {
    let mut batch = body(batch)?;
    // They last until the batch is committed, or is not.
    let _spans = begin_spans(&mut batch);
    match command(&service, Command::Import(Box::new(batch))).await? {
        Answer::Imported(outcome) => {
            if outcome.dead_letters > 0 {
                tracing::warn!(letters = outcome.dead_letters, "changes of the monolith became dead letters");
            }
            Ok(Json(outcome))
        }
        other => Err(unexpected(&other)),
    }
}

/// A span for each trace of a batch, below which the service goes on.
fn begin_spans(batch: &mut ImportBatch) -> Vec<Span> {
    batch.traces.retain(|trace| SpanContext::parse(&trace.traceparent).is_some());
    let begin = |trace: &mut ImportTrace| {
        let mut span = TRACER.begin("import", Kind::Consumer, SpanContext::parse(&trace.traceparent));
        span.set("banyan.rows", trace.changes.len() as u64);
        trace.traceparent = span.context().to_string();
        span
    };
    batch.traces.iter_mut().map(begin).collect()
}

async fn show_ownership(State(service): Called) -> Result<Json<TargetOwnership>, Problem> {
    let leased = service.lease.is_valid(Boot::now());
    let open = read(&service, ownership::open_buckets).await?;
    Ok(Json(TargetOwnership { leased, open }))
}

async fn open(State(service): Called, request: Body<OwnershipOpen>) -> Result<Json<Applied>, Problem> {
    applied(command(&service, Command::Open(body(request)?)).await?)
}

/// Waits for mails under way first, so that their outcome stands before the mark.
async fn close(State(service): Called, request: Body<OwnershipClose>) -> Result<Json<Applied>, Problem> {
    let request = body(request)?;
    let _held = service.mails.hold(&request.buckets, service.close_wait).await;
    applied(command(&service, Command::Close(request)).await?)
}

fn applied(answer: Answer) -> Result<Json<Applied>, Problem> {
    match answer {
        Answer::Applied(applied) => Ok(Json(Applied { applied })),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(answer: &Answer) -> Problem {
    let detail = format!("the command was answered with {answer:?}");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unexpected_answer", detail)
}

#[derive(Deserialize)]
struct OutboxQuery {
    after: u64,
    #[serde(default = "usize_max")]
    limit: usize,
    #[serde(default)]
    wait_ms: u64,
}

fn usize_max() -> usize {
    usize::MAX
}

async fn outbox(
    State(service): Called,
    query: Result<Query<OutboxQuery>, QueryRejection>,
) -> Result<Json<OutboxPage>, Problem> {
    let Query(query) = query.map_err(|rejection| malformed(rejection.body_text()))?;
    let wait = Duration::from_millis(query.wait_ms).min(service.outbox_wait_max);
    let page = service.outbox.page(query.after, query.limit, wait);
    let page = tokio::select! {
        page = page => page,
        // At shutdown nobody is kept waiting.
        () = service.shutdown.requested() => {
            service.outbox.page(query.after, query.limit, Duration::ZERO).await
        }
    };
    page.map(Json).map_err(|fault| error::fault_problem(&fault))
}

#[derive(Deserialize)]
struct RowsQuery {
    table: String,
    #[serde(default)]
    after: u64,
    #[serde(default = "usize_max")]
    limit: usize,
}

async fn rows(
    State(service): Called,
    query: Result<Query<RowsQuery>, QueryRejection>,
) -> Result<Json<RowsPage>, Problem> {
    let Query(RowsQuery { table, after, limit }) =
        query.map_err(|rejection| malformed(rejection.body_text()))?;
    let unknown = malformed(format!("table {table} is not one of this service"));
    let page = read(&service, move |db| reads::page(db, &table, (after, limit))).await?;
    page.map(Json).ok_or(unknown)
}

async fn list_letters(State(service): Called) -> Result<Json<Vec<DeadLetter>>, Problem> {
    read(&service, letters::list).await.map(Json)
}

async fn retry_letter(State(service): Called, Path(id): Path<u64>) -> Result<Json<Value>, Problem> {
    command(&service, Command::RetryLetter(id)).await.map(|_| Json(Value::Null))
}

async fn discard_letter(
    State(service): Called,
    Path(id): Path<u64>,
    discard: Body<Discard>,
) -> Result<Json<Value>, Problem> {
    let Discard { reason } = body(discard)?;
    if reason.trim().is_empty() {
        return Err(malformed("`reason` must say why the change may be dropped".into()));
    }
    command(&service, Command::DiscardLetter(id, reason)).await.map(|_| Json(Value::Null))
}
