//! A capability's row.

use super::Fault;
use crate::coordinator::durable::Durable;
use crate::coordinator::effect::Commit;
use banyan_core::OwnerEpoch;
use rusqlite::{Connection, OptionalExtension as _, named_params};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads a capability.
pub(super) fn load(connection: &Connection, name: &str) -> Result<Option<Durable>, Fault> {
    let sql = "SELECT seed, wanted_percent, paused, burned_owner_epoch, handovers, aborted, holdings, attempt, cut \
               FROM capability WHERE name = ?1";
    let row = connection
        .query_row(sql, [name], |row| {
            let texts: (String, Option<String>, Option<String>) = (row.get(6)?, row.get(7)?, row.get(8)?);
            let durable = Durable {
                seed: row.get::<_, i64>(0)?.cast_unsigned(),
                wanted_percent: row.get(1)?,
                paused: row.get(2)?,
                burned: OwnerEpoch(row.get(3)?),
                handovers: row.get(4)?,
                aborted: row.get(5)?,
                table: Default::default(),
                attempt: None,
                cut: None,
            };
            Ok((durable, texts))
        })
        .optional()?;
    let Some((durable, (holdings, attempt, cut))) = row else { return Ok(None) };
    let table = from_json("holdings", &holdings)?;
    let attempt = attempt.map(|text| from_json("an attempt", &text)).transpose()?;
    let cut = cut.map(|text| from_json("a forced rollback", &text)).transpose()?;
    Ok(Some(Durable { table, attempt, cut, ..durable }))
}

/// Makes the row of a new capability.
pub(super) fn insert(connection: &Connection, name: &str, durable: &Durable) -> Result<(), Fault> {
    connection.execute(
        "INSERT INTO capability VALUES (:name, :seed, :wanted, :paused, :burned, :handovers, :aborted, \
         :holdings, NULL, NULL)",
        named_params! {
            ":name": name,
            ":seed": durable.seed.cast_signed(),
            ":wanted": durable.wanted_percent,
            ":paused": durable.paused,
            ":burned": durable.burned.0,
            ":handovers": durable.handovers,
            ":aborted": durable.aborted,
            ":holdings": to_json("holdings", &durable.table)?,
        },
    )?;
    Ok(())
}

/// Writes a capability whole, but for its seed, which never changes.
pub(super) fn update(connection: &Connection, name: &str, commit: &Commit) -> Result<(), Fault> {
    let next = &commit.next;
    let attempt = next.attempt.as_ref().map(|attempt| to_json("an attempt", attempt)).transpose()?;
    let cut = next.cut.as_ref().map(|cut| to_json("a forced rollback", cut)).transpose()?;
    let changed = connection.execute(
        "UPDATE capability SET wanted_percent = :wanted, paused = :paused, burned_owner_epoch = :burned, \
         handovers = :handovers, aborted = :aborted, holdings = :holdings, attempt = :attempt, cut = :cut \
         WHERE name = :name AND burned_owner_epoch <= :burned",
        named_params! {
            ":name": name,
            ":wanted": next.wanted_percent,
            ":paused": next.paused,
            ":burned": next.burned.0,
            ":handovers": next.handovers,
            ":aborted": next.aborted,
            ":holdings": to_json("holdings", &next.table)?,
            ":attempt": attempt,
            ":cut": cut,
        },
    )?;
    if changed == 1 { Ok(()) } else { Err(Fault::OwnerEpoch(name.into())) }
}

pub(super) fn to_json(what: &'static str, value: &impl Serialize) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|e| Fault::Unreadable { what, cause: e.to_string() })
}

pub(super) fn from_json<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|e| Fault::Unreadable { what, cause: e.to_string() })
}
