//! Writes heartbeats into the monolith's database, by which the forward lag is measured, and removes intents
//! that the service has decided.

use crate::capture::Capture;
use crate::copy::heartbeat_statement;
use crate::database::DatabaseFault;
use crate::metrics;
use crate::own::{INTENT, OF_STREAMS};
use banyan_runtime::tasks::Shutdown;
use mysql_async::Conn;
use std::convert::Infallible;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// The name of the heartbeat among the faults.
const FAULT: &str = "heartbeat";
/// The most intents that one statement removes.
const REMOVED_MAX: usize = 1000;

/// Writes heartbeats until shutdown.
pub async fn run(capture: Arc<Capture>, shutdown: Shutdown) -> Result<(), Infallible> {
    let mut ticks = tokio::time::interval(Duration::from_millis(capture.config.heartbeat_ms));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connection = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.requested() => return Ok(()),
        }
        match beat(&capture, &mut connection).await {
            Ok(()) => capture.faults.clear(FAULT),
            Err(fault) => {
                connection = None;
                capture.faults.set(FAULT, fault.to_string());
            }
        }
        metrics::streams(&capture);
    }
}

async fn beat(capture: &Capture, kept: &mut Option<Conn>) -> Result<(), DatabaseFault> {
    let database = &capture.database;
    // Taken out while in use: a connection whose command did not end is not used again.
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => {
            let mut connection = database.connect().await?;
            for table in OF_STREAMS {
                table.create(database, &mut connection).await?;
            }
            connection
        }
    };
    let beat = capture.beats.begin();
    let sql = heartbeat_statement(&capture.capability.name, &capture.writer, beat);
    database.run(&mut connection, &sql).await?;
    remove_intents(capture, &mut connection).await?;
    *kept = Some(connection);
    Ok(())
}

/// An intent travels in the binlog; its row is only kept until it has arrived.
async fn remove_intents(capture: &Capture, connection: &mut Conn) -> Result<(), DatabaseFault> {
    let decided: Vec<u64> = {
        let mut decided = capture.decided.lock().unwrap_or_else(PoisonError::into_inner);
        let count = decided.len().min(REMOVED_MAX);
        decided.drain(..count).collect()
    };
    if decided.is_empty() {
        return Ok(());
    }
    let ids = decided.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let sql = format!("DELETE FROM {} WHERE id IN ({ids})", INTENT.name);
    match capture.database.run(connection, &sql).await {
        // The fence, and the table with it, has been removed meanwhile.
        Err(DatabaseFault::Refused { code: crate::database::code::NO_SUCH_TABLE, .. }) => Ok(()),
        outcome => outcome.map(|_| ()),
    }
}
