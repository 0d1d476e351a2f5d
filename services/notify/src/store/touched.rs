//! From commands to the rows that they touch. Absence is looked up too: it is a value.

use super::rows;
use crate::domain::{Action, Command, NOTIFICATIONS, PREFERENCES, State, USERS, Write};
use crate::legacy::columns;
use banyan_core::Row;
use banyan_core::protocol::import::ImportBatch;
use banyan_core::row::Change;
use banyan_store::Fault;
use banyan_store::blocks::Blocks;
use banyan_store::import::Stream;
use banyan_store::letters::{self, Letters};
use rusqlite::Connection;
use std::collections::BTreeSet;

/// The keys of a batch.
#[derive(Default)]
struct Keys {
    notifications: BTreeSet<u64>,
    unread_of: BTreeSet<u64>,
    preferences: BTreeSet<u64>,
    activity: BTreeSet<u64>,
    users: BTreeSet<u64>,
    sent_today_of: BTreeSet<u64>,
    letters: Vec<u64>,
    traces: BTreeSet<u64>,
    claims: bool,
    stream: bool,
}

/// Reads what the commands touch; `today` is the local midnight.
///
/// # Errors
/// The database fails.
pub fn load(db: &Connection, commands: &[&Command], today: &str) -> Result<State, Fault> {
    let mut keys = Keys::default();
    for command in commands {
        keys.add(command, db)?;
    }
    let mut state = State { blocks: Blocks::load(db)?, ..State::default() };
    if keys.claims {
        for (id, user) in rows::claims(db)? {
            state.claims.load(id, Some(user));
            keys.notifications.insert(id);
        }
        keys.notifications.iter().for_each(|id| state.claims.load(*id, None));
    }
    for id in &keys.notifications {
        state.notifications.load(*id, rows::notification(db, *id)?);
    }
    for user in &keys.unread_of {
        for row in rows::unread(db, *user)? {
            state.notifications.load(row.id, Some(row));
        }
    }
    for user in &keys.preferences {
        state.preferences.load(*user, rows::preferences(db, *user)?);
    }
    for id in &keys.activity {
        state.activity.load(*id, rows::activity(db, *id)?);
    }
    for id in &keys.users {
        state.users.load(*id, rows::user(db, *id)?);
    }
    for id in &keys.traces {
        state.traces.load(*id, rows::trace(db, *id)?);
    }
    for user in &keys.sent_today_of {
        state.sent_today.load(*user, Some(rows::sent_since(db, *user, today)?));
    }
    if keys.stream {
        state.stream = Some(Stream::load(db)?);
        state.letters = Letters::load(db, keys.letters.into_iter())?;
    }
    Ok(state)
}

impl Keys {
    fn add(&mut self, command: &Command, db: &Connection) -> Result<(), Fault> {
        match command {
            Command::Write(write) => self.add_write(write),
            Command::ClaimMail { id, user } => {
                self.notifications.insert(*id);
                self.preferences.insert(*user);
                self.users.insert(*user);
                self.sent_today_of.insert(*user);
                self.traces.insert(*id);
                self.claims = true;
            }
            Command::RecordMail { id, .. } => {
                self.notifications.insert(*id);
                self.traces.insert(*id);
                self.claims = true;
            }
            Command::Import(batch) => self.add_batch(batch),
            Command::RetryLetter(id) | Command::DiscardLetter(id, _) => {
                self.letters.push(*id);
                self.stream = true;
                if let Some(letter) = letters::find(db, *id)? {
                    self.add_change(&letter.change);
                }
            }
            Command::Close(_) => self.claims = true,
            Command::Open(_) => self.stream = true,
            Command::AddBlock { .. } => {}
        }
        Ok(())
    }

    fn add_write(&mut self, write: &Write) {
        match &write.action {
            Action::Read(id) | Action::Delete(id) => {
                self.notifications.insert(*id);
            }
            Action::ReadAll => {
                self.unread_of.insert(write.user);
            }
            Action::Remind { .. } | Action::SetPreferences(_) | Action::Unsubscribe => {
                self.preferences.insert(write.user);
            }
        }
    }

    fn add_batch(&mut self, batch: &ImportBatch) {
        self.stream = true;
        batch.changes.iter().for_each(|change| self.add_change(change));
    }

    fn add_change(&mut self, change: &Change) {
        match change {
            Change::Insert { table, after } => self.add_row(table, after),
            Change::Update { table, before, after } => {
                self.add_row(table, before);
                self.add_row(table, after);
            }
            Change::Delete { table, before } => self.add_row(table, before),
            Change::Intent(intent) => {
                self.claims = true;
                self.add_row(&intent.table, &intent.before);
            }
            Change::Fence(_) => {}
        }
    }

    /// A row without a readable key becomes a dead letter and needs no loading.
    fn add_row(&mut self, table: &str, row: &Row) {
        let Ok(key) = columns::number(table, row, columns::key_column(table)) else { return };
        match table {
            NOTIFICATIONS => self.notifications.insert(key),
            PREFERENCES => self.preferences.insert(key),
            USERS => false,
            _ => self.activity.insert(key),
        };
    }
}
