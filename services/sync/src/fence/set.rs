//! Setting the fence: guard and fence in one transaction, all buckets or none.
//!
//! The guard is raised first. A command whose turn is not above the guard of every bucket changes nothing,
//! however late it arrives. Rows of the fence are taken with NOWAIT and a bounded number of tries, so that
//! no writer waits behind this command while it waits for another.

use super::rows;
use crate::capture::Capture;
use crate::error::Fault;
use crate::own::{FENCE, GUARD};
use banyan_core::protocol::monolith::{Applied, FenceSet};
use banyan_runtime::{clock, failpoints};
use mysql_async::Conn;
use std::time::Duration;

/// The pause between two tries.
const RETRY: Duration = Duration::from_millis(5);

/// What the connection sets: no wait in a lock queue is long, and a long `IN (…)` stays a range of the key
/// (MariaDB's `in_predicate_conversion_threshold` would make it a subquery).
pub fn settings() -> Vec<String> {
    vec!["SET SESSION innodb_lock_wait_timeout = 1 /*M! , in_predicate_conversion_threshold = 0 */".into()]
}

/// Sets the fence.
///
/// # Errors
/// See [`Fault`]. An error of the database means: unknown whether it was set.
pub async fn set(capture: &Capture, command: &FenceSet) -> Result<Applied, Fault> {
    if command.buckets.is_empty() {
        return Err(Fault::Malformed("`buckets` is empty".into()));
    }
    let begun = clock::instant();
    let patience = Duration::from_millis(capture.config.fence_wait_ms_max);
    let mut lease = capture.fence.lease().await?;
    loop {
        match attempt(capture, &mut lease.connection, command).await {
            Ok(applied) => {
                lease.keep();
                return Ok(Applied { applied });
            }
            Err(Fault::Database(fault)) if fault.is_locked() => {
                capture.database.run(&mut lease.connection, "ROLLBACK").await?;
                if begun.elapsed() >= patience {
                    let holders = super::gates::holders(&capture.database, &mut lease.connection).await?;
                    lease.keep();
                    let words = holders.iter().map(super::gates::in_words).collect::<Vec<_>>().join("; ");
                    let capability = command.capability.clone();
                    return Err(Fault::FenceLocked { capability, holders: words });
                }
            }
            Err(fault) => return Err(fault),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// One transaction; whether it applied.
async fn attempt(capture: &Capture, connection: &mut Conn, command: &FenceSet) -> Result<bool, Fault> {
    let database = &capture.database;
    // Guard rows are locked by commands only, and fence rows below are locked already: a range of the key
    // serves, and is quicker than a join.
    let listed = command.buckets.iter().map(|b| b.to_string()).collect::<Vec<_>>().join(",");
    let range = format!("capability = '{}' AND bucket IN ({listed})", capture.capability.name);
    let (turn, wanted) = (command.turn, command.buckets.len() as u64);
    let (term, attempt, step) = (turn.term, turn.attempt, turn.step);
    database.run(connection, "START TRANSACTION").await?;
    let raise = format!(
        "UPDATE {} SET term = {term}, attempt = {attempt}, step = {step}
         WHERE {range} AND (term, attempt, step) < ({term}, {attempt}, {step})",
        GUARD.name
    );
    let raised = database.run(connection, &raise).await?;
    if raised != wanted {
        let there = format!("SELECT COUNT(*) FROM {} WHERE {range}", GUARD.name);
        let there: Vec<u64> = database.rows(connection, &there).await?;
        database.run(connection, "ROLLBACK").await?;
        return if there == [wanted] { Ok(false) } else { Err(not_installed(capture)) };
    }
    let rows = rows(FENCE, &capture.capability.name, &command.buckets);
    let lock = format!("SELECT x.bucket FROM {rows} FOR UPDATE NOWAIT");
    let locked: Vec<u16> = database.rows(connection, &lock).await?;
    if locked.len() as u64 != wanted {
        database.run(connection, "ROLLBACK").await?;
        return Err(not_installed(capture));
    }
    let (owner, epoch) = (command.owner.as_str(), command.owner_epoch);
    let set = format!("UPDATE {} SET owner = '{owner}', owner_epoch = {epoch} WHERE {range}", FENCE.name);
    database.run(connection, &set).await?;
    failpoints::before("sync", "set_fence");
    database.run(connection, "COMMIT").await?;
    failpoints::after("sync", "set_fence");
    Ok(true)
}

fn not_installed(capture: &Capture) -> Fault {
    Fault::NotInstalled(capture.capability.name.clone())
}
