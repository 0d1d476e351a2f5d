//! What a forced rollback asks of reverse: where it stands, what it must not write any more, and what it
//! keeps for a person instead.
//!
//! The tag row's term is the owner epoch of the newest forced rollback. It is raised under the lock that every
//! transaction of reverse takes first, so each of them is either in the position that is read with it or knows
//! the term. An event of a bucket whose fence moves in that owner epoch waits until the fence says who owns it; one
//! of a bucket that the monolith owns is a conflict: no handover leaves such an event behind.

use super::LANE_EVENTS;
use crate::capture::Capture;
use crate::conflicts;
use crate::database::{DatabaseFault, code};
use crate::error::Fault;
use crate::own::{FENCE, INTENT, TAG};
use banyan_core::protocol::exposure::{CutOff, ReverseCut, Reversed};
use banyan_core::protocol::target::{OutboxEvent, OutboxPage};
use banyan_core::{Bucket, BucketSet, OwnerEpoch};
use banyan_runtime::{clock, failpoints};
use mysql_async::Conn;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the service's outbox is tried for, in all.
const OUTBOX_MAX: Duration = Duration::from_secs(2);
/// How many events are read at once.
const PAGE_EVENTS: u64 = 2000;

/// What becomes of the events of a page.
#[derive(Debug, Default)]
pub struct Sorted {
    /// Those that are written, in order.
    pub writes: Vec<OutboxEvent>,
    /// Those that are kept as conflicts.
    pub conflicts: Vec<OutboxEvent>,
    /// Whether those behind have to wait.
    pub waits: bool,
}

/// Sorts events by what the fence says of their buckets. Called under the lock of the tag row.
///
/// # Errors
/// The database fails.
pub async fn sort(
    capture: &Capture,
    connection: &mut Conn,
    (events, term): (&[OutboxEvent], u64),
) -> Result<Sorted, DatabaseFault> {
    let fences = fences(capture, connection, events).await?;
    let mut sorted = Sorted::default();
    for event in events {
        let fence = event.bucket.and_then(|bucket| fences.get(&bucket));
        match fence.map(|(owner, epoch)| (owner.as_str(), *epoch)) {
            Some(("moving", epoch)) if epoch <= term => {
                sorted.waits = true;
                return Ok(sorted);
            }
            Some(("monolith", _)) => sorted.conflicts.push(event.clone()),
            _ => sorted.writes.push(event.clone()),
        }
    }
    Ok(sorted)
}

async fn fences(
    capture: &Capture,
    connection: &mut Conn,
    events: &[OutboxEvent],
) -> Result<BTreeMap<Bucket, (String, u64)>, DatabaseFault> {
    let buckets: BucketSet = events.iter().filter_map(|event| event.bucket).collect();
    if buckets.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = crate::fence::rows(FENCE, &capture.capability.name, &buckets);
    let sql = format!("SELECT x.bucket, CAST(x.owner AS CHAR), x.owner_epoch FROM {rows}");
    match capture.database.rows::<(u16, String, u64)>(connection, &sql).await {
        Ok(rows) => {
            let row = |(bucket, owner, epoch)| Some((Bucket::try_from(bucket).ok()?, (owner, epoch)));
            Ok(rows.into_iter().filter_map(row).collect())
        }
        // Without a fence nothing is ever taken away.
        Err(fault) if fault.is(code::NO_SUCH_TABLE) => Ok(BTreeMap::new()),
        Err(fault) => Err(fault),
    }
}

/// Whether the monolith owns every bucket: then the service may begin with another database.
///
/// # Errors
/// The database fails.
pub async fn owns_nothing(capture: &Capture, connection: &mut Conn) -> Result<bool, DatabaseFault> {
    let sql = format!(
        "SELECT COUNT(*) FROM {} WHERE capability = '{}' AND owner <> 'monolith'",
        FENCE.name, capture.capability.name
    );
    match capture.database.rows::<u64>(connection, &sql).await {
        Ok(counts) => Ok(counts == [0]),
        Err(fault) if fault.is(code::NO_SUCH_TABLE) => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// Fences reverse, and says what it has not written.
///
/// # Errors
/// The database fails; it may have been fenced.
pub async fn cut(capture: &Capture, command: &ReverseCut) -> Result<CutOff, Fault> {
    let database = &capture.database;
    let lock_wait = format!("SET SESSION innodb_lock_wait_timeout = {}", capture.config.lock_wait_s_max);
    let mut connection = database.connect_with(&[lock_wait]).await?;
    TAG.create(database, &mut connection).await?;
    let (name, OwnerEpoch(epoch)) = (&capture.capability.name, command.owner_epoch);
    database.run(&mut connection, "START TRANSACTION").await?;
    let raise = format!(
        "INSERT INTO {} (capability, lane, incarnation, position, term) VALUES ('{name}', {LANE_EVENTS}, '', 0, {epoch})
         ON DUPLICATE KEY UPDATE term = GREATEST(term, {epoch})",
        TAG.name
    );
    database.run(&mut connection, &raise).await?;
    let read = format!(
        "SELECT incarnation, position FROM {} WHERE capability = '{name}' AND lane = {LANE_EVENTS}",
        TAG.name
    );
    let tags: Vec<(String, u64)> = database.rows(&mut connection, &read).await?;
    failpoints::before("sync", "cut");
    database.run(&mut connection, "COMMIT").await?;
    failpoints::after("sync", "cut");
    let reversed = tags.into_iter().next().map(|(incarnation, position)| Reversed { incarnation, position });
    let reversed = reversed.unwrap_or_default();
    let outbox = left_in_outbox(capture, (&reversed, &command.buckets)).await;
    let intents = intents(capture, (&mut connection, &command.buckets)).await?;
    Ok(CutOff { reversed, outbox, intents })
}

/// The events above a position by bucket; `None` where they cannot all be read.
async fn left_in_outbox(
    capture: &Capture,
    (reversed, buckets): (&Reversed, &BucketSet),
) -> Option<Vec<(Bucket, u64)>> {
    let (begun, mut after) = (clock::instant(), reversed.position);
    let mut counts: BTreeMap<Bucket, u64> = BTreeMap::new();
    loop {
        let left = OUTBOX_MAX.checked_sub(begun.elapsed())?;
        let path = format!("/v1/outbox?after={after}&limit={PAGE_EVENTS}&wait_ms=0");
        let page: OutboxPage = capture.service.timeout(left).get(&path).await.ok()?;
        let same = reversed.incarnation.is_empty() || page.incarnation == reversed.incarnation;
        if !same || page.head < after {
            return None;
        }
        for bucket in page.events.iter().filter_map(|event| event.bucket).filter(|b| buckets.contains(*b)) {
            *counts.entry(bucket).or_default() += 1;
        }
        after = match page.events.last() {
            Some(last) if last.position < page.head => last.position,
            _ => return Some(counts.into_iter().collect()),
        };
    }
}

async fn intents(
    capture: &Capture,
    (connection, buckets): (&mut Conn, &BucketSet),
) -> Result<Vec<(Bucket, u64)>, DatabaseFault> {
    let sql = format!(
        "SELECT bucket, COUNT(*) FROM {} WHERE capability = '{}' GROUP BY bucket",
        INTENT.name, capture.capability.name
    );
    let counts: Vec<(u16, u64)> = capture.database.rows(connection, &sql).await?;
    let of = |(bucket, count)| Some((Bucket::try_from(bucket).ok().filter(|b| buckets.contains(*b))?, count));
    Ok(counts.into_iter().filter_map(of).collect())
}

/// Keeps events as conflicts, in the transaction that moves the position behind them.
///
/// # Errors
/// The database fails.
pub async fn keep(
    capture: &Capture,
    connection: &mut Conn,
    (events, incarnation): (&[OutboxEvent], &str),
) -> Result<(), Fault> {
    for event in events {
        let insert = conflicts::insert(&capture.capability.name, (event, incarnation));
        let insert = insert.map_err(|error| Fault::Schema(format!("event {}: {error}", event.position)))?;
        capture.database.run(connection, &insert).await?;
    }
    Ok(())
}
