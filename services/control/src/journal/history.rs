//! Reports of handovers, bounded in number, and the gateways that were there.

use super::Fault;
use super::rows::{from_json, to_json};
use banyan_core::protocol::migration::HandoverReport;
use rusqlite::Connection;
use std::collections::BTreeSet;

/// Adds a report and drops those beyond the bound, oldest first.
pub(super) fn insert(connection: &Connection, report: &HandoverReport, kept_max: u64) -> Result<(), Fault> {
    connection.execute(
        "INSERT OR REPLACE INTO handover (capability, owner_epoch, report) VALUES (?1, ?2, ?3)",
        (&report.capability, report.owner_epoch.0, to_json("a report", report)?),
    )?;
    connection.execute("DELETE FROM handover WHERE id <= (SELECT MAX(id) FROM handover) - ?1", [kept_max])?;
    Ok(())
}

/// The newest report of a capability.
pub(super) fn newest(connection: &Connection, name: &str) -> Result<Option<HandoverReport>, Fault> {
    Ok(list(connection, name, 1)?.pop())
}

/// The newest reports of a capability, newest first.
pub(super) fn list(connection: &Connection, name: &str, limit: u64) -> Result<Vec<HandoverReport>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT report FROM handover WHERE capability = ?1 ORDER BY owner_epoch DESC LIMIT ?2",
    )?;
    let texts = statement.query_map((name, limit), |row| row.get::<_, String>(0))?;
    texts.map(|text| from_json("a report", &text?)).collect()
}

/// The records of gateways.
pub(super) fn gateways(connection: &Connection) -> Result<BTreeSet<String>, Fault> {
    let mut statement = connection.prepare_cached("SELECT record FROM gateway")?;
    let records = statement.query_map([], |row| row.get(0))?;
    Ok(records.collect::<Result<_, _>>()?)
}

/// A gateway's record is there, or has been given back.
pub(super) fn note_gateway(connection: &Connection, record: &str, is_there: bool) -> Result<(), Fault> {
    let sql = match is_there {
        true => "INSERT OR IGNORE INTO gateway (record) VALUES (?1)",
        false => "DELETE FROM gateway WHERE record = ?1",
    };
    connection.execute(sql, [record])?;
    Ok(())
}
