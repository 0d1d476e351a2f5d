//! The reverse stream: the service's outbox into the monolith's tables.
//!
//! Invariants: rows and position are one transaction of the monolith's database, whose tag row is locked
//! and checked first: each event takes effect once, also when two of these run at the same time, an answer
//! is lost or the process is killed. An event that cannot be written stops the stream with a fault and is
//! tried again: nothing is left out.

pub mod cut;
pub mod plan;

use crate::capture::Capture;
use crate::database::DatabaseFault;
use crate::error::Fault;
use crate::forward::traces::TRACER;
use crate::metrics::{LAG_SECONDS, REVERSED};
use crate::own::{CONFLICT, TAG};
use banyan_core::protocol::exposure::Reversed;
use banyan_core::protocol::monolith::Direction;
use banyan_core::protocol::target::{OutboxEvent, OutboxPage};
use banyan_runtime::client::CallError;
use banyan_runtime::tasks::Shutdown;
use banyan_runtime::trace::{Kind, SpanContext};
use banyan_runtime::{clock, failpoints};
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use plan::{Plan, Write};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use thiserror::Error;

/// The name of the stream among the faults.
const FAULT: &str = "reverse";
/// The lane of events in `banyan_tag`.
pub const LANE_EVENTS: u8 = 0;
/// The lane of blocks of ids in `banyan_tag`; its position stays 0.
pub const LANE_BLOCKS: u8 = 1;
/// The first pause after a failure.
const RETRY_MS_MIN: u64 = 20;
/// What an answer may take beyond the wait that was asked for.
const ANSWER_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Error)]
enum ReverseFault {
    #[error(transparent)]
    Database(#[from] DatabaseFault),
    #[error(transparent)]
    Other(#[from] Fault),
    #[error("{0}")]
    Service(#[from] CallError),
    #[error(
        "the service's database is {now}, and the monolith holds events of {held} up to {position}: it was \
             made anew or restored from a backup; restore the newer one"
    )]
    OtherIncarnation { held: String, now: String, position: u64 },
    #[error(
        "the service's outbox ends at {head}, and the monolith holds its events up to {position}: the service \
             has lost events; restore its newest database"
    )]
    Regressed { head: u64, position: u64 },
    #[error("a forced rollback is under way: the service's events wait for its end")]
    Forced,
    #[error("the tag row was changed by another applier; beginning anew")]
    Overtaken,
    #[error("outbox events {first} to {last} cannot be written to the monolith: {cause}")]
    Unwritable { first: u64, last: u64, cause: String },
}

/// What the monolith holds of the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tag {
    incarnation: String,
    position: u64,
    term: u64,
}

impl Tag {
    fn reversed(&self) -> Reversed {
        Reversed { incarnation: self.incarnation.clone(), position: self.position }
    }
}

/// Carries events until shutdown.
pub async fn run(capture: Arc<Capture>, shutdown: Shutdown) -> Result<(), Infallible> {
    let reverse = Reverse { capture };
    tokio::select! {
        never = reverse.run() => match never {},
        () = shutdown.requested() => Ok(()),
    }
}

struct Reverse {
    capture: Arc<Capture>,
}

impl Reverse {
    async fn run(&self) -> Infallible {
        let mut pause_ms = RETRY_MS_MIN;
        loop {
            let begun = clock::instant();
            let Err(fault) = self.session().await;
            self.capture.reverse.live.store(false, Ordering::Relaxed);
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

    async fn session(&self) -> Result<Infallible, ReverseFault> {
        let capture = &self.capture;
        let lock_wait = format!("SET SESSION innodb_lock_wait_timeout = {}", capture.config.lock_wait_s_max);
        let mut connection = capture.database.connect_with(&[lock_wait]).await?;
        TAG.create(&capture.database, &mut connection).await?;
        CONFLICT.create(&capture.database, &mut connection).await?;
        let mut tag = self.read_tag(&mut connection, "").await?;
        loop {
            let reversed = tag.as_ref().map(Tag::reversed).unwrap_or_default();
            let position = reversed.position;
            capture.reverse.position.send_replace(reversed);
            let page = self.page(position).await?;
            let held = match check(&page, tag) {
                Err(other) if cut::owns_nothing(capture, &mut connection).await? => {
                    tracing::warn!(cause = %other, "the service owns nothing and begins with another database");
                    tag = Some(self.begin_anew(&mut connection, &page).await?);
                    continue;
                }
                held => held?,
            };
            capture.reverse.live.store(true, Ordering::Relaxed);
            if page.events.is_empty() {
                // Kept awake: the server drops connections that say nothing for long.
                capture.database.bounded(connection.ping()).await?;
                capture.faults.clear(FAULT);
                tag = Some(held).filter(|held| held.position > 0);
                continue;
            }
            match self.apply(&mut connection, &held, &page).await {
                Ok(now) => tag = Some(now),
                Err(fault) => {
                    let oldest = page.events[0].committed_ms;
                    let late = clock::unix_ms().saturating_sub(oldest);
                    capture.reverse.lag_ms.store(late, Ordering::Relaxed);
                    return Err(fault);
                }
            }
            capture.faults.clear(FAULT);
        }
    }

    async fn page(&self, after: u64) -> Result<OutboxPage, CallError> {
        let config = &self.capture.config;
        let (limit, wait) = (config.reverse_events_max, config.reverse_wait_ms);
        let patience = Duration::from_millis(wait) + ANSWER_MAX;
        let path = format!("/v1/outbox?after={after}&limit={limit}&wait_ms={wait}");
        self.capture.service.timeout(patience).get(&path).await
    }

    async fn read_tag(&self, connection: &mut Conn, lock: &str) -> Result<Option<Tag>, DatabaseFault> {
        let sql = format!(
            "SELECT incarnation, position, term FROM {} WHERE capability = '{}' AND lane = {LANE_EVENTS} {lock}",
            TAG.name, self.capture.capability.name
        );
        let rows: Vec<(String, u64, u64)> = self.capture.database.rows(connection, &sql).await?;
        let tag = |(incarnation, position, term)| Tag { incarnation, position, term };
        Ok(rows.into_iter().next().map(tag))
    }

    /// One transaction: the tag row checked, the rows written, the position moved.
    async fn apply(&self, connection: &mut Conn, held: &Tag, page: &OutboxPage) -> Result<Tag, ReverseFault> {
        let (capture, begun) = (&self.capture, clock::instant());
        let catalog = capture.catalog().await?;
        capture.database.run(connection, "START TRANSACTION").await?;
        let locked = self.read_tag(connection, "FOR UPDATE").await?;
        let overtaken = match &locked {
            Some(locked) if locked.incarnation.is_empty() => locked.term != held.term,
            Some(locked) => locked != held,
            None => held.position > 0,
        };
        if overtaken {
            return Err(ReverseFault::Overtaken);
        }
        let sorted = cut::sort(capture, connection, (&page.events, held.term)).await?;
        let taken = sorted.writes.len() + sorted.conflicts.len();
        if taken == 0 {
            capture.database.run(connection, "ROLLBACK").await?;
            return Err(ReverseFault::Forced);
        }
        let (first, last) = (page.events[0].position, page.events[taken - 1].position);
        let unwritable = |cause: String| ReverseFault::Unwritable { first, last, cause };
        let plan = Plan::of(&catalog, &sorted.writes).map_err(unwritable)?;
        let now = Tag { position: last, ..held.clone() };
        let set = format!(
            "INSERT INTO {} (capability, lane, incarnation, position, term)
             VALUES ('{}', {LANE_EVENTS}, '{}', {}, {}) ON DUPLICATE KEY UPDATE position = VALUES(position), incarnation = VALUES(incarnation)",
            TAG.name, capture.capability.name, now.incarnation, now.position, now.term
        );
        capture.database.run(connection, &set).await?;
        for write in &plan.writes {
            self.write(connection, write).await.map_err(|fault| match fault {
                // Somebody holds a row: no fault of the event.
                fault if fault.is_locked() => ReverseFault::Database(fault),
                DatabaseFault::Refused { message, .. } => unwritable(format!("{}: {message}", write.what)),
                fault => ReverseFault::Database(fault),
            })?;
        }
        cut::keep(capture, connection, (&sorted.conflicts, &now.incarnation)).await?;
        failpoints::before("sync", "reverse");
        capture.database.run(connection, "COMMIT").await?;
        failpoints::after("sync", "reverse");
        if !sorted.conflicts.is_empty() {
            tracing::warn!(
                events = sorted.conflicts.len(),
                "events came too late; see `banyan conflicts list`"
            );
        }
        self.committed(&page.events[..taken], &plan);
        traced(&capture.capability.name, &page.events[..taken], begun);
        Ok(now)
    }

    /// The service's new database is numbered from its own beginning, or from its end where it is an older
    /// state of the same one.
    async fn begin_anew(&self, connection: &mut Conn, page: &OutboxPage) -> Result<Tag, ReverseFault> {
        let database = &self.capture.database;
        database.run(connection, "START TRANSACTION").await?;
        let locked = self.read_tag(connection, "FOR UPDATE").await?;
        let same = locked.as_ref().is_some_and(|locked| locked.incarnation == page.incarnation);
        let now = Tag {
            incarnation: page.incarnation.clone(),
            position: if same { page.head } else { 0 },
            term: locked.map_or(0, |locked| locked.term),
        };
        let set = format!(
            "UPDATE {} SET incarnation = '{}', position = {} WHERE capability = '{}' AND lane = {LANE_EVENTS}",
            TAG.name, now.incarnation, now.position, self.capture.capability.name
        );
        database.run(connection, &set).await?;
        database.run(connection, "COMMIT").await?;
        Ok(now)
    }

    async fn write(&self, connection: &mut Conn, write: &Write) -> Result<(), DatabaseFault> {
        let matched = self.capture.database.run(connection, &write.sql).await?;
        match &write.or_insert {
            Some(insert) if matched == 0 => self.capture.database.run(connection, insert).await.map(|_| ()),
            _ => Ok(()),
        }
    }

    fn committed(&self, events: &[OutboxEvent], plan: &Plan) {
        let capture = &self.capture;
        let now = clock::unix_ms();
        for event in events {
            let ms = now.saturating_sub(event.committed_ms);
            capture.reverse.lag_ms.store(ms, Ordering::Relaxed);
            capture.lag.record_ms(ms as f64);
            LAG_SECONDS.with_label_values(&["reverse"]).observe(ms as f64 / 1000.0);
        }
        REVERSED.with_label_values(&["upsert"]).inc_by(plan.upserts);
        REVERSED.with_label_values(&["delete"]).inc_by(plan.deletes);
        capture.marks.reach(Direction::Reverse, events.iter().filter_map(|event| event.mark));
    }
}

/// A span for each event that belongs to a trace, since its transaction was begun.
fn traced(capability: &str, events: &[OutboxEvent], begun: Instant) {
    for event in events {
        let Some(parent) = event.traceparent.as_deref().and_then(SpanContext::parse) else { continue };
        let mut span = TRACER.begin("reverse", Kind::Consumer, Some(parent));
        span.begun(begun);
        span.set("banyan.capability", capability);
        span.set("banyan.event", event.kind.as_str());
        span.set("banyan.rows", event.rows.len() as u64);
        span.set("banyan.outbox", event.position);
    }
}

/// Checks that the page goes on where the monolith stands; what the monolith holds.
fn check(page: &OutboxPage, tag: Option<Tag>) -> Result<Tag, ReverseFault> {
    if !page.incarnation.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        || page.incarnation.len() > 64
    {
        let cause = format!("`{}` is no incarnation", page.incarnation);
        return Err(ReverseFault::Unwritable { first: 0, last: 0, cause });
    }
    match tag {
        None => Ok(Tag { incarnation: page.incarnation.clone(), position: 0, term: 0 }),
        Some(tag) if tag.incarnation.is_empty() => Ok(Tag { incarnation: page.incarnation.clone(), ..tag }),
        Some(tag) if tag.incarnation != page.incarnation => Err(ReverseFault::OtherIncarnation {
            held: tag.incarnation,
            now: page.incarnation.clone(),
            position: tag.position,
        }),
        Some(tag) if page.head < tag.position => {
            Err(ReverseFault::Regressed { head: page.head, position: tag.position })
        }
        Some(tag) => Ok(tag),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(incarnation: &str, head: u64) -> OutboxPage {
        OutboxPage { incarnation: incarnation.into(), events: vec![], head }
    }

    #[test]
    fn another_or_older_database_of_the_service_is_noticed() {
        let tag = Tag { incarnation: "a".into(), position: 7, term: 0 };
        assert_eq!(check(&page("a", 7), Some(tag.clone())).unwrap(), tag);
        assert_eq!(check(&page("b", 0), None).unwrap().incarnation, "b");
        assert!(matches!(
            check(&page("b", 9), Some(tag.clone())),
            Err(ReverseFault::OtherIncarnation { .. })
        ));
        assert!(matches!(check(&page("a", 6), Some(tag)), Err(ReverseFault::Regressed { .. })));
        assert!(check(&page("a'; --", 6), None).is_err());
    }
}
