//! What a stray update of the monolith wanted, decided by the service that owns the row.
//!
//! The monolith kept its row. A column that the statement changed is changed here where this row still holds
//! what the statement saw; where it does not, the statement came too late, and nothing happens. The claim of
//! a mail is never followed: the monolith's worker saw that it had changed no row, and sends nothing.

use crate::domain::{Event, EventKind, MailState, Notification, Record, State};
use crate::legacy::columns::{self, AnyRow};
use banyan_core::Row;
use banyan_core::row::Intent;

/// Decides an intent; `None` where nothing is to be done.
///
/// # Errors
/// The rows cannot be read, or this service has no such row: the sides differ.
pub fn decide(state: &State, intent: &Intent) -> Result<Option<Event>, String> {
    let table = intent.table.as_str();
    let key = columns::number(table, &intent.before, columns::key_column(table))?;
    let own = match (columns::parse(table, &intent.before)?, columns::parse(table, &intent.wanted)?) {
        (AnyRow::Owned(Record::Notification(before)), AnyRow::Owned(Record::Notification(wanted))) => {
            if !may_follow_mail(state, &before, &wanted) {
                return Ok(None);
            }
            state.notifications.get(&key).cloned().map(Record::Notification)
        }
        (AnyRow::Owned(Record::Preferences(_)), AnyRow::Owned(_)) => {
            state.preferences.get(&key).cloned().map(Record::Preferences)
        }
        _ => return Err(format!("updates of {table} are not taken over")),
    };
    let own = own.ok_or_else(|| format!("this service has no row {key} of {table}"))?;
    let (_, own_row) = columns::row_of(&own);
    let Some(row) = merge(&own_row, &intent.before, &intent.wanted) else { return Ok(None) };
    match columns::parse(table, &row)? {
        AnyRow::Owned(record) if record.user() == own.user() => {
            Ok(Some(Event { kind: EventKind::IntentFollowed, user: own.user(), rows: vec![record] }))
        }
        _ => Err(format!("row {key} of {table} would change its subject")),
    }
}

/// Whether the change of a mail's state, if there is one, is the monolith's to make.
fn may_follow_mail(state: &State, before: &Notification, wanted: &Notification) -> bool {
    if before.mail_state == wanted.mail_state {
        return true;
    }
    let claimed_here = state.claims.is_loaded(&before.id) && state.claims.get(&before.id).is_some();
    wanted.mail_state != MailState::Claimed && !claimed_here
}

/// The own row with what the statement changed; `None` where it came too late, or changed nothing.
fn merge(own: &Row, before: &Row, wanted: &Row) -> Option<Row> {
    let mut merged = own.clone();
    let mut changed = false;
    for (column, value) in wanted {
        // Every statement touches it; it decides nothing.
        let stamp = column == "updated_at";
        if before.get(column) == Some(value) || !own.contains_key(column) {
            continue;
        }
        if !stamp && own.get(column) != before.get(column) {
            return None;
        }
        changed |= !stamp;
        merged.insert(column.clone(), value.clone());
    }
    changed.then_some(merged)
}
