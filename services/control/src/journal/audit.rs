//! The audit: append only, each record's hash over the one before it and itself.
//!
//! The hash of the newest record stands beside the chain too, so that a chain cut short is noticed.

use super::Fault;
use crate::coordinator::effect::AuditEntry;
use banyan_core::protocol::migration::AuditRecord;
use rusqlite::{Connection, Row};
use sha2::{Digest as _, Sha256};

/// How many records are read at once while the chain is checked.
const PAGE: u64 = 500;

/// What a check of the chain found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The chain is whole, with this many records.
    Whole(u64),
    /// The record with this number is not the one that was written, or is missing.
    Broken(u64),
}

/// Appends a record.
pub(super) fn append(connection: &Connection, entry: &AuditEntry, at_ms: u64) -> Result<(), Fault> {
    let before: String = connection.query_row("SELECT audit_hash FROM control", [], |row| row.get(0))?;
    let id: u64 = connection.query_row("SELECT coalesce(max(id), 0) + 1 FROM audit", [], |row| row.get(0))?;
    let mut record = AuditRecord {
        id,
        at_ms,
        by: entry.by.clone(),
        action: entry.action.into(),
        detail: entry.detail.clone(),
        reason: entry.reason.clone(),
        hash: String::new(),
    };
    record.hash = hash(&before, &record);
    connection.execute(
        "INSERT INTO audit (id, at_ms, by, action, detail, reason, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (id, at_ms, &record.by, &record.action, &record.detail, &record.reason, &record.hash),
    )?;
    connection.execute("UPDATE control SET audit_hash = ?1", [&record.hash])?;
    Ok(())
}

/// The records behind one, in order.
pub(super) fn page(connection: &Connection, after: u64, limit: u64) -> Result<Vec<AuditRecord>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT id, at_ms, by, action, detail, reason, hash FROM audit WHERE id > ?1 ORDER BY id LIMIT ?2",
    )?;
    let records = statement.query_map((after, limit), record)?;
    Ok(records.collect::<Result<_, _>>()?)
}

/// Checks the whole chain.
pub(super) fn verify(connection: &Connection) -> Result<Verdict, Fault> {
    // One snapshot, so that a record appended meanwhile is not taken for a broken end.
    let snapshot = connection.unchecked_transaction()?;
    let newest: String = snapshot.query_row("SELECT audit_hash FROM control", [], |row| row.get(0))?;
    let (mut count, mut before) = (0, String::new());
    loop {
        let records = page(&snapshot, count, PAGE)?;
        if records.is_empty() {
            let whole = before == newest;
            return Ok(if whole { Verdict::Whole(count) } else { Verdict::Broken(count + 1) });
        }
        for record in records {
            if record.id != count + 1 || record.hash != hash(&before, &record) {
                return Ok(Verdict::Broken(count + 1));
            }
            (count, before) = (record.id, record.hash);
        }
    }
}

fn hash(before: &str, record: &AuditRecord) -> String {
    let AuditRecord { id, at_ms, by, action, detail, reason, .. } = record;
    // JSON, so that no two records have the same text.
    let text = serde_json::json!([before, id, at_ms, by, action, detail, reason]).to_string();
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn record(row: &Row<'_>) -> rusqlite::Result<AuditRecord> {
    Ok(AuditRecord {
        id: row.get(0)?,
        at_ms: row.get(1)?,
        by: row.get(2)?,
        action: row.get(3)?,
        detail: row.get(4)?,
        reason: row.get(5)?,
        hash: row.get(6)?,
    })
}
