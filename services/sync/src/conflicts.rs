//! Conflicts: events of a service that came after the monolith had taken over without it.
//!
//! They stand in the monolith's database, written by reverse in the transaction that moves its position behind
//! them. A person decides: replayed, an event's rows are written as a write of the monolith's own, under its
//! gate and only while the monolith owns the bucket, so that they reach the service like any other; discarded,
//! nothing happens. Either way the row stays, with who, when and why.

use crate::capture::Capture;
use crate::database::DatabaseFault;
use crate::error::Fault;
use crate::literal::quote;
use crate::own::{CONFLICT, FENCE, GATE};
use crate::reverse::plan::Plan;
use banyan_core::Bucket;
use banyan_core::protocol::conflict::{Conflict, Settle, Settled};
use banyan_core::protocol::target::OutboxEvent;
use banyan_runtime::failpoints;
use mysql_async::Conn;

/// How many are listed at once.
const LISTED_MAX: u32 = 500;
/// The longest name of who decides, in bytes.
const BY_BYTES_MAX: usize = 200;
/// The longest reason, in bytes.
const REASON_BYTES_MAX: usize = 2000;

/// How a conflict is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Its rows are written to the monolith.
    Replay,
    /// It is dropped.
    Discard,
}

impl Decision {
    fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replayed",
            Self::Discard => "discarded",
        }
    }
}

/// The statement that keeps an event.
///
/// # Errors
/// The event cannot be written as text.
pub fn insert(
    capability: &str,
    (event, incarnation): (&OutboxEvent, &str),
) -> Result<String, serde_json::Error> {
    let text = serde_json::to_string(event)?;
    let bucket = event.bucket.map_or(0, Bucket::number);
    Ok(format!(
        "INSERT INTO {} (capability, incarnation, position, bucket, event, queued_at)
         VALUES ('{capability}', '{incarnation}', {}, {bucket}, {}, UTC_TIMESTAMP(3))",
        CONFLICT.name,
        event.position,
        quote(&text)
    ))
}

/// The oldest open ones.
///
/// # Errors
/// The database fails.
pub async fn list(capture: &Capture) -> Result<Vec<Conflict>, Fault> {
    let mut lease = capture.questions.lease().await?;
    let filter = format!("settled_at IS NULL ORDER BY id LIMIT {LISTED_MAX}");
    let all = select(capture, &mut lease.connection, &filter).await?;
    lease.keep();
    Ok(all)
}

/// One of them.
///
/// # Errors
/// The database fails, or there is none with this number.
pub async fn show(capture: &Capture, id: u64) -> Result<Conflict, Fault> {
    let mut lease = capture.questions.lease().await?;
    let found = select(capture, &mut lease.connection, &format!("id = {id}")).await?;
    lease.keep();
    found.into_iter().next().ok_or(Fault::UnknownConflict(id))
}

/// Settles one, in one transaction.
///
/// # Errors
/// The database fails, it is not open, or its bucket is not the monolith's.
pub async fn settle(
    capture: &Capture,
    id: u64,
    (decision, settle): (Decision, &Settle),
) -> Result<Conflict, Fault> {
    let told = !settle.reason.trim().is_empty() && settle.reason.len() <= REASON_BYTES_MAX;
    if !told || settle.by.len() > BY_BYTES_MAX {
        let bounds = format!("`reason` has 1 to {REASON_BYTES_MAX} bytes, `by` at most {BY_BYTES_MAX}");
        return Err(Fault::Malformed(bounds));
    }
    let database = &capture.database;
    let mut connection = database.connect().await?;
    database.run(&mut connection, "START TRANSACTION").await?;
    let open =
        select(capture, &mut connection, &format!("id = {id} AND settled_at IS NULL FOR UPDATE")).await?;
    let conflict = open.into_iter().next().ok_or(Fault::UnknownConflict(id))?;
    if decision == Decision::Replay {
        replay(capture, &mut connection, &conflict.event).await?;
    }
    let sql = format!(
        "UPDATE {} SET settled_at = UTC_TIMESTAMP(3), settled_how = '{}', settled_by = {}, reason = {} WHERE id = {id}",
        CONFLICT.name,
        decision.as_str(),
        quote(&settle.by),
        quote(&settle.reason)
    );
    database.run(&mut connection, &sql).await?;
    failpoints::before("sync", "settle");
    database.run(&mut connection, "COMMIT").await?;
    failpoints::after("sync", "settle");
    tracing::info!(
        id,
        decision = decision.as_str(),
        by = settle.by,
        reason = settle.reason,
        "a conflict is settled"
    );
    show(capture, id).await
}

/// Writes the rows as the monolith's own code would: gate first, then the fence.
async fn replay(capture: &Capture, connection: &mut Conn, event: &OutboxEvent) -> Result<(), Fault> {
    let (database, capability) = (&capture.database, &capture.capability.name);
    if let Some(bucket) = event.bucket {
        let of = format!("capability = '{capability}' AND bucket = {bucket} LOCK IN SHARE MODE");
        let _: Vec<u16> =
            database.rows(connection, &format!("SELECT bucket FROM {} WHERE {of}", GATE.name)).await?;
        let fence = format!("SELECT CAST(owner AS CHAR) FROM {} WHERE {of}", FENCE.name);
        let owner: Vec<String> = database.rows(connection, &fence).await?;
        if owner != ["monolith"] {
            return Err(Fault::NotMonoliths { capability: capability.clone(), bucket });
        }
    }
    let catalog = capture.catalog().await?;
    let plan = Plan::of(&catalog, std::slice::from_ref(event)).map_err(Fault::Schema)?;
    for write in &plan.writes {
        let matched = database.run(connection, &write.sql).await?;
        if let Some(insert) = write.or_insert.as_ref().filter(|_| matched == 0) {
            database.run(connection, insert).await?;
        }
    }
    Ok(())
}

type Columns = (u64, String, String, String, Option<String>, Option<String>, Option<String>, Option<String>);

async fn select(capture: &Capture, connection: &mut Conn, filter: &str) -> Result<Vec<Conflict>, Fault> {
    let sql = format!(
        "SELECT id, incarnation, event, CAST(queued_at AS CHAR), settled_how, settled_by, reason,
                CAST(settled_at AS CHAR) FROM {} WHERE capability = '{}' AND {filter}",
        CONFLICT.name, capture.capability.name
    );
    let rows: Result<Vec<Columns>, DatabaseFault> = capture.database.rows(connection, &sql).await;
    rows?.into_iter().map(conflict).collect()
}

fn conflict((id, incarnation, event, queued_at, how, by, reason, at): Columns) -> Result<Conflict, Fault> {
    let event = serde_json::from_str(&event)
        .map_err(|error| Fault::Schema(format!("conflict {id} cannot be read: {error}")))?;
    let settled = how.zip(at).map(|(how, at)| Settled {
        how,
        by: by.unwrap_or_default(),
        reason: reason.unwrap_or_default(),
        at,
    });
    Ok(Conflict { id, incarnation, event, queued_at, settled })
}
