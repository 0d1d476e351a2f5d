//! The outbox: events in commit order, numbered without ever passing an uncommitted lower number.
//!
//! One writer numbers the events within the transaction that commits them, so a reader that has seen a
//! position has been able to see every lower one. Events are kept; a consumer keeps its own position.

use crate::database::Readers;
use crate::fault::Fault;
use crate::working::Working;
use banyan_core::protocol::target::{OutboxEvent, OutboxPage};
use banyan_core::row::RowWrite;
use banyan_core::{Bucket, OwnerEpoch};
use prometheus::{IntGauge, register_int_gauge};
use rusqlite::{Connection, Row, params};
use std::sync::LazyLock;
use std::time::Duration;
use tokio::sync::watch;

/// The `kind` of a mark.
pub const MARK: &str = "banyan.mark";
/// The most events of one page.
pub const PAGE_EVENTS_MAX: usize = 2000;
/// A page ends after the event with which its rows exceed this many bytes.
const PAGE_BYTES_MAX: usize = 8 << 20;

/// An event that a command publishes.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// CloudEvents `type`, such as `notification.read`.
    pub kind: &'static str,
    /// The subject's id as decimal text.
    pub subject: String,
    /// The rows that it means in the monolith.
    pub rows: Vec<RowWrite>,
    /// W3C trace context of the request that caused it.
    pub traceparent: Option<String>,
}

#[derive(Debug)]
struct Numbered {
    position: u64,
    event: NewEvent,
    bucket: Option<Bucket>,
    mark: Option<OwnerEpoch>,
}

/// The events of a batch that is not committed yet.
#[derive(Debug)]
pub struct Pending {
    head: u64,
    events: Vec<Numbered>,
    kept: usize,
}

impl Pending {
    /// No events yet, behind the highest committed position.
    pub fn new(head: u64) -> Self {
        Self { head, events: Vec::new(), kept: 0 }
    }

    /// Adds an event; its position.
    pub fn publish(&mut self, event: NewEvent) -> u64 {
        let bucket = Some(Bucket::of(&event.subject));
        self.push(event, bucket, None)
    }

    /// Adds a mark behind everything published so far; its position.
    pub fn mark(&mut self, owner_epoch: OwnerEpoch) -> u64 {
        let event = NewEvent { kind: MARK, subject: String::new(), rows: Vec::new(), traceparent: None };
        self.push(event, None, Some(owner_epoch))
    }

    fn push(&mut self, event: NewEvent, bucket: Option<Bucket>, mark: Option<OwnerEpoch>) -> u64 {
        let position = self.head() + 1;
        self.events.push(Numbered { position, event, bucket, mark });
        position
    }

    /// The highest position, these events included.
    pub fn head(&self) -> u64 {
        self.head + self.events.len() as u64
    }

    /// Writes the events.
    ///
    /// # Errors
    /// The database fails.
    pub fn save(&self, db: &Connection, now_ms: u64) -> Result<(), Fault> {
        let mut insert = db.prepare_cached(
            "INSERT INTO outbox (position, kind, subject, bucket, changes, mark, committed_ms, traceparent)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )?;
        for Numbered { position, event, bucket, mark } in &self.events {
            insert.execute(params![
                position.cast_signed(),
                event.kind,
                event.subject,
                bucket.map(Bucket::number),
                serde_json::to_string(&event.rows)?,
                mark.map(|epoch| epoch.0.cast_signed()),
                now_ms.cast_signed(),
                event.traceparent,
            ])?;
        }
        Ok(())
    }
}

impl Working for Pending {
    fn keep(&mut self) {
        self.kept = self.events.len();
    }

    fn undo(&mut self) {
        self.events.truncate(self.kept);
    }
}

static POSITION: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!("banyan_outbox_position", "The highest committed position of the service's outbox")
        .expect("a metric of a unique name is registered once")
});

/// Shows the highest committed position among the metrics.
pub fn show(head: u64) {
    POSITION.set(i64::try_from(head).unwrap_or(i64::MAX));
}

/// The highest committed position; 0 before the first event.
///
/// # Errors
/// The database fails.
pub fn head(db: &Connection) -> Result<u64, Fault> {
    let head: i64 = db
        .prepare_cached("SELECT COALESCE(MAX(position), 0) FROM outbox")?
        .query_row([], |row| row.get(0))?;
    Ok(head.cast_unsigned())
}

/// What tells this outbox from another one.
///
/// # Errors
/// The database fails.
pub fn incarnation(db: &Connection) -> Result<String, Fault> {
    Ok(db.query_row("SELECT id FROM incarnation", [], |row| row.get(0))?)
}

/// The outbox as its consumers see it.
#[derive(Clone, Debug)]
pub struct Outbox {
    readers: Readers,
    head: watch::Receiver<u64>,
}

impl Outbox {
    /// An outbox whose writer tells every new head.
    pub fn new(readers: Readers, head: watch::Receiver<u64>) -> Self {
        Self { readers, head }
    }

    /// The events above a position, at most `limit`; waits for one as long as `wait`. A position above the
    /// head is answered at once: it is from another database.
    ///
    /// # Errors
    /// The database fails.
    pub async fn page(&self, after: u64, limit: usize, wait: Duration) -> Result<OutboxPage, Fault> {
        let mut head = self.head.clone();
        // Time out or writer gone: an empty page is the answer.
        let _ = tokio::time::timeout(wait, head.wait_for(|head| *head != after)).await;
        let limit = limit.clamp(1, PAGE_EVENTS_MAX);
        self.readers.read(move |db| read(db, after, limit)).await
    }

    /// Resolves when the highest committed position is above `seen`, or the writer has ended.
    pub async fn passed(&self, seen: u64) {
        let _ = self.head.clone().wait_for(|head| *head > seen).await;
    }
}

fn read(db: &Connection, after: u64, limit: usize) -> Result<OutboxPage, Fault> {
    let incarnation = incarnation(db)?;
    let mut select = db.prepare_cached(
        "SELECT position, kind, subject, bucket, mark, committed_ms, traceparent, changes FROM outbox
         WHERE position > ? ORDER BY position LIMIT ?",
    )?;
    let mut rows = select.query(params![after.cast_signed(), limit as i64])?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()?
        && bytes <= PAGE_BYTES_MAX
    {
        let text: String = row.get(7)?;
        bytes += text.len();
        events.push(event(row, serde_json::from_str(&text)?)?);
    }
    Ok(OutboxPage { incarnation, events, head: head(db)? })
}

fn event(row: &Row<'_>, rows: Vec<RowWrite>) -> Result<OutboxEvent, Fault> {
    let bucket: Option<u16> = row.get(3)?;
    Ok(OutboxEvent {
        position: row.get::<_, i64>(0)?.cast_unsigned(),
        kind: row.get(1)?,
        subject: row.get(2)?,
        bucket: bucket.map(Bucket::try_from).transpose().map_err(Fault::Data)?,
        rows,
        mark: row.get::<_, Option<i64>>(4)?.map(|epoch| OwnerEpoch(epoch.cast_unsigned())),
        committed_ms: row.get::<_, i64>(5)?.cast_unsigned(),
        traceparent: row.get(6)?,
    })
}
