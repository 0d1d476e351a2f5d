//! The forward stream: the monolith's binlog to the service.
//!
//! Invariants: the service's position is the only checkpoint, moved in the transaction that applies what it
//! stands behind; one batch is in flight; whatever transactions are ready go into the next one. After any
//! failure, an unknown outcome included, the stream begins anew from the position that the service tells.

mod batch;
pub mod traces;

use crate::binlog::{Group, Source, StreamFault, head};
use crate::capture::Capture;
use crate::database::code;
use crate::error::Fault;
use crate::metrics::{BATCHES, CHANGES, LAG_SECONDS};
use crate::own::FENCE;
use banyan_core::protocol::import::{BinlogPosition, ImportBatch, ImportOutcome};
use banyan_core::protocol::monolith::Direction;
use banyan_core::row::{Change, FenceChange, FenceOwner};
use banyan_core::{Bucket, BucketSet, OwnerEpoch};
use banyan_runtime::client::CallError;
use banyan_runtime::tasks::Shutdown;
use banyan_runtime::trace::Span;
use banyan_runtime::{clock, failpoints};
use batch::{Batch, Limits};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::sync::mpsc;

/// The name of the stream among the faults.
const FAULT: &str = "forward";
/// Transactions that are read ahead of the service.
const QUEUE_MAX: usize = 256;
/// The first pause after a failure.
const RETRY_MS_MIN: u64 = 50;
/// How long the service may take to commit a batch.
const COMMIT_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, Error)]
enum ForwardFault {
    #[error(transparent)]
    Stream(#[from] StreamFault),
    #[error(transparent)]
    Other(#[from] Fault),
    #[error("the service does not take the monolith's changes: {0}")]
    Service(#[from] CallError),
    #[error(
        "the service has no position, but the monolith's fence says that it owns or is given {0} buckets: \
             it lost its database; restore it, or roll back by hand"
    )]
    Regressed(usize),
}

/// Carries changes until shutdown.
pub async fn run(capture: Arc<Capture>, shutdown: Shutdown) -> Result<(), Infallible> {
    let forward = Forward { capture };
    tokio::select! {
        never = forward.run() => match never {},
        () = shutdown.requested() => Ok(()),
    }
}

struct Forward {
    capture: Arc<Capture>,
}

impl Forward {
    async fn run(&self) -> Infallible {
        let mut pause_ms = RETRY_MS_MIN;
        loop {
            let begun = clock::instant();
            let Err(fault) = self.session().await;
            self.capture.forward_live.store(false, Ordering::Relaxed);
            self.capture.desk.clear();
            self.capture.faults.set(FAULT, fault.to_string());
            let retry_ms_max = self.capture.config.retry_ms_max;
            pause_ms = if begun.elapsed() > Duration::from_millis(2 * retry_ms_max) {
                RETRY_MS_MIN
            } else {
                (pause_ms * 2).min(retry_ms_max)
            };
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
    }

    /// One connection to the binlog, from the service's position to the first failure.
    async fn session(&self) -> Result<Infallible, ForwardFault> {
        let capture = &self.capture;
        let state = capture.import_state().await?;
        let catalog = capture.catalog().await?;
        let position = match state.position {
            Some(position) => position,
            None => self.begin().await?,
        };
        let source = Source::open(capture, catalog, &position).await?;
        tracing::info!(capability = capture.capability.name, ?position, "the forward stream begins");
        capture.forward_live.store(true, Ordering::Relaxed);
        capture.sessions.send_modify(|session| *session += 1);
        let (queue, ready) = mpsc::channel(QUEUE_MAX);
        // A fault of the reader ends the queue: what stands before it is still sent.
        let (fault, sent) = tokio::join!(read(source, queue), self.send(ready, position));
        sent?;
        Err(fault.unwrap_or(StreamFault::Ended("nobody reads it")).into())
    }

    /// The first position of an empty service: the newest of the binlog. What the fence says there is told
    /// with it, because its changes lie before: a command from before the service lost its database opens
    /// nothing.
    async fn begin(&self) -> Result<BinlogPosition, ForwardFault> {
        let capture = &self.capture;
        let mut lease = capture.questions.lease().await.map_err(Fault::from)?;
        let connection = &mut lease.connection;
        let sql = format!(
            "SELECT bucket, CAST(owner AS CHAR), owner_epoch FROM {} WHERE capability = '{}'",
            FENCE.name, capture.capability.name
        );
        let rows = match capture.database.rows::<(u16, String, u64)>(connection, &sql).await {
            Ok(rows) => rows,
            Err(fault) if fault.is(code::NO_SUCH_TABLE) => Vec::new(),
            Err(fault) => return Err(Fault::from(fault).into()),
        };
        let moved = rows.iter().filter(|(_, owner, _)| owner != FenceOwner::Monolith.as_str()).count();
        if moved > 0 {
            return Err(ForwardFault::Regressed(moved));
        }
        let to = head(&capture.database, connection).await.map_err(Fault::from)?;
        lease.keep();
        let changes = of_monolith(rows);
        let batch = ImportBatch { from: None, to: to.clone(), changes, chunk: None, traces: Vec::new() };
        let _: ImportOutcome = capture.service.post("/v1/import", &batch).await?;
        Ok(to)
    }

    /// Sends what is ready, one batch after the other, until the queue ends.
    async fn send(&self, mut ready: mpsc::Receiver<Group>, from: BinlogPosition) -> Result<(), ForwardFault> {
        let config = &self.capture.config;
        let limits = Limits { changes: config.batch_changes_max, bytes: config.batch_bytes_max };
        let position_max = Duration::from_millis(config.position_ms);
        let (mut from, mut carried, mut sent_at) = (from, None, clock::instant());
        loop {
            let Some(first) = next(&mut carried, &mut ready).await else { return Ok(()) };
            let mut batch = Batch::new(first);
            carried = fill(&mut batch, &mut ready, limits);
            // Nothing that the service waits for: it only has to hear of the position now and then.
            while !batch.is_urgent() && carried.is_none() {
                let rest = position_max.saturating_sub(sent_at.elapsed());
                match tokio::time::timeout(rest, ready.recv()).await {
                    Ok(Some(group)) => carried = batch.push(group, limits),
                    Ok(None) | Err(_) => break,
                }
                carried = carried.or_else(|| fill(&mut batch, &mut ready, limits));
            }
            from = self.post(from, batch).await?;
            sent_at = clock::instant();
        }
    }

    async fn post(&self, from: BinlogPosition, batch: Batch) -> Result<BinlogPosition, ForwardFault> {
        let capture = &self.capture;
        let since = batch.begun();
        let (mut message, promises) = batch.into_message(from);
        let spans = traces::begin(&capture.capability, &mut message, since);
        let begun: Instant = clock::instant();
        failpoints::before("sync", "forward");
        let sent = capture.service.timeout(COMMIT_MAX).post("/v1/import", &message).await;
        let outcome: ImportOutcome = sent.inspect_err(|error| fail(spans, &error.to_string()))?;
        failpoints::after("sync", "forward");
        BATCHES.observe(begun.elapsed().as_secs_f64());
        for (kind, count) in [
            ("applied", outcome.applied),
            ("imported", outcome.imported),
            ("dead_letter", outcome.dead_letters),
        ] {
            CHANGES.with_label_values(&[kind]).inc_by(count);
        }
        capture.marks.reach(Direction::Forward, promises.marks);
        for ms in promises.beats.into_iter().filter_map(|beat| capture.beats.arrived(beat)) {
            capture.lag.record_ms(ms);
            LAG_SECONDS.with_label_values(&["forward"]).observe(ms / 1000.0);
        }
        if let Some(committed) = promises.chunk {
            // The copy may have given up on the chunk: then it asks the service how far it is.
            let _ = committed.send(());
        }
        capture.decided.lock().unwrap_or_else(PoisonError::into_inner).extend(promises.intents);
        capture.faults.clear(FAULT);
        Ok(message.to)
    }
}

/// What a fence says that gives every bucket to the monolith: one change for each owner epoch.
fn of_monolith(rows: Vec<(u16, String, u64)>) -> Vec<Change> {
    let mut by_epoch: BTreeMap<OwnerEpoch, BucketSet> = BTreeMap::new();
    for (number, _, owner_epoch) in rows {
        if let Ok(bucket) = Bucket::try_from(number) {
            by_epoch.entry(OwnerEpoch(owner_epoch)).or_insert_with(BucketSet::empty).insert(bucket);
        }
    }
    let owner = FenceOwner::Monolith;
    let change = |(owner_epoch, buckets)| Change::Fence(FenceChange { buckets, owner, owner_epoch });
    by_epoch.into_iter().map(change).collect()
}

/// The attempt is seen in its traces; the next one has spans of its own.
fn fail(spans: Vec<Span>, cause: &str) {
    for mut span in spans {
        span.fail(cause);
    }
}

async fn next(carried: &mut Option<Group>, ready: &mut mpsc::Receiver<Group>) -> Option<Group> {
    match carried.take() {
        Some(group) => Some(group),
        None => ready.recv().await,
    }
}

/// Takes what is ready; what does not fit any more is given back.
fn fill(batch: &mut Batch, ready: &mut mpsc::Receiver<Group>, limits: Limits) -> Option<Group> {
    while !batch.is_full(limits) {
        let group = ready.try_recv().ok()?;
        if let Some(left) = batch.push(group, limits) {
            return Some(left);
        }
    }
    None
}

/// Reads ahead until the stream ends; `None` where nobody takes the transactions any more.
async fn read(mut source: Source, queue: mpsc::Sender<Group>) -> Option<StreamFault> {
    loop {
        match source.next().await {
            Ok(group) => queue.send(group).await.ok()?,
            Err(fault) => return Some(fault),
        }
    }
}
