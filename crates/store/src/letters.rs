//! Dead letters: changes of the monolith that could not be applied.
//!
//! A letter parks its row: later changes of the same row become letters behind it, in order, until it is
//! settled. A letter blocks the handover of its bucket and never stops the stream.

use crate::fault::Fault;
use crate::working::{Single, Table, Working};
use banyan_core::protocol::import::DeadLetter;
use banyan_core::row::Change;
use banyan_core::{Bucket, BucketSet};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use std::collections::BTreeMap;

/// The most letters that one list tells.
const LISTED_MAX: u32 = 1000;

/// A change that is put aside.
#[derive(Clone, Debug, PartialEq)]
pub struct NewLetter {
    /// The bucket that it blocks.
    pub bucket: Bucket,
    /// The row that it parks, such as `notifications/7`.
    pub parked: String,
    /// The change.
    pub change: Change,
    /// Why it could not be applied.
    pub cause: String,
}

/// How many open letters park a row, and the oldest of them where it is known.
#[derive(Clone, Copy, Debug)]
struct Parked {
    count: u64,
    oldest: Option<u64>,
}

/// The open letters, as far as a batch touches them.
#[derive(Debug, Default)]
pub struct Letters {
    parked: Single<BTreeMap<String, Parked>>,
    open: Table<u64, NewLetter>,
    added: Vec<NewLetter>,
    settled: Vec<(u64, String)>,
    kept: (usize, usize),
}

impl Letters {
    /// Reads which rows are parked, and the letters with these ids.
    ///
    /// # Errors
    /// The database fails.
    pub fn load(db: &Connection, ids: impl Iterator<Item = u64>) -> Result<Self, Fault> {
        let mut select = db.prepare_cached(
            "SELECT parked, COUNT(*), MIN(id) FROM dead_letters WHERE settled_ms IS NULL GROUP BY parked",
        )?;
        let mut rows = select.query([])?;
        let mut parked = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let number = |index| row.get::<_, i64>(index).map(i64::cast_unsigned);
            parked.insert(row.get(0)?, Parked { count: number(1)?, oldest: Some(number(2)?) });
        }
        let mut letters = Self { parked: Single::loaded(parked), ..Self::default() };
        let mut select = db.prepare_cached(
            "SELECT id, bucket, change, cause, parked FROM dead_letters WHERE id = ? AND settled_ms IS NULL",
        )?;
        for id in ids {
            let mut rows = select.query([id.cast_signed()])?;
            let found = rows.next()?.map(|row| -> Result<NewLetter, Fault> {
                let DeadLetter { bucket, change, cause, .. } = letter(row)?;
                Ok(NewLetter { bucket, parked: row.get(4)?, change, cause })
            });
            letters.open.load(id, found.transpose()?);
        }
        Ok(letters)
    }

    /// Whether an open letter parks the row.
    pub fn is_parked(&self, row: &str) -> bool {
        self.parked.get().contains_key(row)
    }

    /// An open letter that was loaded.
    pub fn open(&self, id: u64) -> Option<&NewLetter> {
        self.open.get(&id)
    }

    /// Whether the letter is the oldest of its row, as far as this batch knows.
    pub fn is_oldest(&self, id: u64, letter: &NewLetter) -> bool {
        self.parked.get().get(&letter.parked).is_some_and(|parked| parked.oldest == Some(id))
    }

    /// Adds a letter.
    pub fn add(&mut self, letter: NewLetter) {
        let parked = self.parked.change().entry(letter.parked.clone());
        parked.or_insert(Parked { count: 0, oldest: None }).count += 1;
        self.added.push(letter);
    }

    /// Closes a letter that was loaded; `how` is kept.
    pub fn settle(&mut self, id: u64, how: &str) {
        let Some(letter) = self.open.get(&id).cloned() else { return };
        self.open.remove(id);
        let parked = self.parked.change();
        match parked.get_mut(&letter.parked) {
            Some(Parked { count, oldest }) if *count > 1 => {
                *count -= 1;
                // The next oldest is read by the next batch.
                *oldest = oldest.filter(|oldest| *oldest != id);
            }
            _ => {
                parked.remove(&letter.parked);
            }
        }
        self.settled.push((id, how.into()));
    }

    /// Writes what has changed.
    ///
    /// # Errors
    /// The database fails.
    pub fn save(&self, db: &Connection, now_ms: u64) -> Result<(), Fault> {
        let now_ms = now_ms.cast_signed();
        for NewLetter { bucket, parked, change, cause } in &self.added {
            let change = serde_json::to_string(change)?;
            db.prepare_cached(
                "INSERT INTO dead_letters (bucket, parked, change, cause, at_ms) VALUES (?, ?, ?, ?, ?)",
            )?
            .execute(params![bucket.number(), parked, change, cause, now_ms])?;
        }
        for (id, how) in &self.settled {
            db.prepare_cached("UPDATE dead_letters SET settled_ms = ?, settled_how = ? WHERE id = ?")?
                .execute(params![now_ms, how, id.cast_signed()])?;
        }
        Ok(())
    }
}

impl Working for Letters {
    fn keep(&mut self) {
        self.parked.keep();
        self.open.keep();
        self.kept = (self.added.len(), self.settled.len());
    }

    fn undo(&mut self) {
        self.parked.undo();
        self.open.undo();
        self.added.truncate(self.kept.0);
        self.settled.truncate(self.kept.1);
    }
}

fn letter(row: &Row<'_>) -> Result<DeadLetter, Fault> {
    Ok(DeadLetter {
        id: row.get::<_, i64>(0)?.cast_unsigned(),
        bucket: Bucket::try_from(row.get::<_, u16>(1)?).map_err(Fault::Data)?,
        change: serde_json::from_str(&row.get::<_, String>(2)?)?,
        cause: row.get(3)?,
    })
}

/// The open letters, oldest first.
///
/// # Errors
/// The database fails.
pub fn list(db: &Connection) -> Result<Vec<DeadLetter>, Fault> {
    let mut select = db.prepare_cached(
        "SELECT id, bucket, change, cause FROM dead_letters WHERE settled_ms IS NULL ORDER BY id LIMIT ?",
    )?;
    let mut rows = select.query([LISTED_MAX])?;
    let mut letters = Vec::new();
    while let Some(row) = rows.next()? {
        letters.push(letter(row)?);
    }
    Ok(letters)
}

/// The buckets that an open letter blocks.
///
/// # Errors
/// The database fails.
pub fn buckets(db: &Connection) -> Result<BucketSet, Fault> {
    let mut select =
        db.prepare_cached("SELECT DISTINCT bucket FROM dead_letters WHERE settled_ms IS NULL")?;
    let numbers = select.query_map([], |row| row.get::<_, u16>(0))?;
    let mut buckets = BucketSet::empty();
    for number in numbers {
        buckets.insert(Bucket::try_from(number?).map_err(Fault::Data)?);
    }
    Ok(buckets)
}

/// The open letter with this id.
///
/// # Errors
/// The database fails.
pub fn find(db: &Connection, id: u64) -> Result<Option<DeadLetter>, Fault> {
    let mut select = db.prepare_cached(
        "SELECT id, bucket, change, cause FROM dead_letters WHERE id = ? AND settled_ms IS NULL",
    )?;
    let mut rows = select.query([id.cast_signed()])?;
    rows.next()?.map(letter).transpose()
}

/// How the letter with this id was settled; `None` where it is open or was never there.
///
/// # Errors
/// The database fails.
pub fn settled(db: &Connection, id: u64) -> Result<Option<String>, Fault> {
    let mut select = db.prepare_cached("SELECT settled_how FROM dead_letters WHERE id = ?")?;
    Ok(select.query_row([id.cast_signed()], |row| row.get::<_, Option<String>>(0)).optional()?.flatten())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrations::migrate;

    fn new(cause: &str) -> NewLetter {
        let change = Change::Delete { table: "a".into(), before: banyan_core::Row::new() };
        let bucket = Bucket::of("1");
        NewLetter { bucket, parked: "a/1".into(), change, cause: cause.into() }
    }

    fn with<T>(db: &Connection, ids: &[u64], change: impl FnOnce(&mut Letters) -> T) -> T {
        let mut letters = Letters::load(db, ids.iter().copied()).unwrap();
        let outcome = change(&mut letters);
        letters.keep();
        letters.save(db, 5).unwrap();
        outcome
    }

    #[test]
    fn letters_of_a_row_are_settled_in_order_and_park_it_until_the_last() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db, &[], 1).unwrap();
        with(&db, &[], |letters| {
            letters.add(new("first"));
            letters.keep();
            letters.add(new("undone"));
            letters.undo();
            letters.add(new("second"));
            assert!(letters.is_parked("a/1") && !letters.is_parked("a/2"));
        });
        assert_eq!(
            list(&db).unwrap().iter().map(|l| l.cause.as_str()).collect::<Vec<_>>(),
            ["first", "second"]
        );
        assert_eq!(buckets(&db).unwrap().to_string(), Bucket::of("1").to_string());
        with(&db, &[1, 2, 9], |letters| {
            assert!(letters.open(9).is_none());
            let second = letters.open(2).cloned().unwrap();
            assert!(!letters.is_oldest(2, &second));
            letters.settle(1, "retried");
            assert!(letters.is_parked("a/1"));
        });
        with(&db, &[2], |letters| {
            let second = letters.open(2).cloned().unwrap();
            assert!(letters.is_oldest(2, &second));
            letters.settle(2, "discarded: too old");
            assert!(!letters.is_parked("a/1"));
        });
        assert!(list(&db).unwrap().is_empty() && buckets(&db).unwrap().is_empty());
        assert_eq!(settled(&db, 2).unwrap().as_deref(), Some("discarded: too old"));
    }
}
