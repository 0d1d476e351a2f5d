//! Stored outcomes of commands that carry an idempotency key: a replay gets the first outcome again.
//!
//! Only outcomes of `decide` are stored, in the transaction of their effect. A key is forgotten after a day.

use crate::fault::Fault;
use crate::working::{Table, Working};
use rusqlite::{Connection, OptionalExtension as _, params};

/// How long an outcome is kept, in milliseconds.
pub const KEPT_MS: u64 = 24 * 3600 * 1000;
/// The most outcomes that one batch forgets.
const FORGOTTEN_MAX: u32 = 1000;

/// What makes a repeated command known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Chosen by the caller, unique per command.
    pub text: String,
    /// Of the command's content: another content under the same key is refused.
    pub fingerprint: String,
}

/// The fingerprint and the outcome, as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// See [`Key::fingerprint`].
    pub fingerprint: String,
    /// The outcome.
    pub outcome: String,
}

/// The outcomes that a batch touches.
#[derive(Debug, Default)]
pub struct Answers {
    stored: Table<String, Stored>,
}

impl Answers {
    /// Looks the keys up.
    ///
    /// # Errors
    /// The database fails.
    pub fn load<'k>(db: &Connection, keys: impl Iterator<Item = &'k Key>) -> Result<Self, Fault> {
        let mut stored = Table::default();
        let mut select = db.prepare_cached("SELECT fingerprint, outcome FROM answers WHERE key = ?")?;
        for key in keys {
            let found = select
                .query_row([&key.text], |row| Ok(Stored { fingerprint: row.get(0)?, outcome: row.get(1)? }));
            stored.load(key.text.clone(), found.optional()?);
        }
        Ok(Self { stored })
    }

    /// The stored outcome of a key that was loaded.
    pub fn find(&self, key: &Key) -> Option<&Stored> {
        self.stored.get(&key.text)
    }

    /// Stores an outcome.
    pub fn record(&mut self, key: &Key, outcome: String) {
        self.stored.put(key.text.clone(), Stored { fingerprint: key.fingerprint.clone(), outcome });
        self.stored.keep();
    }

    /// Writes the new outcomes, and forgets old ones.
    ///
    /// # Errors
    /// The database fails.
    pub fn save(&self, db: &Connection, now_ms: u64) -> Result<(), Fault> {
        let mut insert = db.prepare_cached("INSERT INTO answers VALUES (?, ?, ?, ?)")?;
        let mut any = false;
        for (key, stored) in self.stored.changed() {
            if let Some(Stored { fingerprint, outcome }) = stored {
                insert.execute(params![key, fingerprint, outcome, now_ms.cast_signed()])?;
                any = true;
            }
        }
        if any {
            let before = now_ms.saturating_sub(KEPT_MS).cast_signed();
            db.prepare_cached(
                "DELETE FROM answers WHERE key IN (SELECT key FROM answers WHERE at_ms < ? LIMIT ?)",
            )?
            .execute(params![before, FORGOTTEN_MAX])?;
        }
        Ok(())
    }
}
