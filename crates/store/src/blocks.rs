//! Ids for new rows, from blocks that the monolith's own counter has leased to this service.
//!
//! A block is stored before its first id is used, and an id is used in the transaction that takes it from
//! its block: no id is used twice, whatever ends early. Ids of a transaction that is undone are used later.

use crate::fault::Fault;
use crate::working::{Single, Working};
use banyan_core::protocol::monolith::IdBlock;
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

type ByTable = BTreeMap<String, VecDeque<IdBlock>>;

/// The unused ids by table.
#[derive(Debug, Default)]
pub struct Blocks {
    unused: Single<ByTable>,
    touched: BTreeSet<String>,
}

impl Blocks {
    /// Reads the blocks.
    ///
    /// # Errors
    /// The database fails.
    pub fn load(db: &Connection) -> Result<Self, Fault> {
        let mut select = db.prepare_cached("SELECT table_name, next, last FROM id_blocks ORDER BY last")?;
        let mut rows = select.query([])?;
        let mut unused = ByTable::new();
        while let Some(row) = rows.next()? {
            let id = |index| row.get::<_, i64>(index).map(i64::cast_unsigned);
            let block = IdBlock { first: id(1)?, last: id(2)? };
            unused.entry(row.get(0)?).or_default().push_back(block);
        }
        Ok(Self { unused: Single::loaded(unused), touched: BTreeSet::new() })
    }

    /// The next id of a table; `None` where the blocks are used up.
    pub fn take(&mut self, table: &str) -> Option<u64> {
        self.unused.get().get(table).filter(|blocks| !blocks.is_empty())?;
        self.touched.insert(table.into());
        let blocks = self.unused.change().get_mut(table)?;
        let block = blocks.front_mut()?;
        let id = block.first;
        if block.first == block.last {
            blocks.pop_front();
        } else {
            block.first += 1;
        }
        Some(id)
    }

    /// Adds a leased block. One that is empty or overlaps what is unused is refused with `false`.
    pub fn add(&mut self, table: &str, block: IdBlock) -> bool {
        let overlaps = |b: &IdBlock| b.first <= block.last && block.first <= b.last;
        let present = self.unused.get().get(table);
        if block.first > block.last || present.is_some_and(|blocks| blocks.iter().any(overlaps)) {
            return false;
        }
        self.touched.insert(table.into());
        self.unused.change().entry(table.into()).or_default().push_back(block);
        true
    }

    /// How many ids of a table are unused.
    pub fn left(&self, table: &str) -> u64 {
        let blocks = self.unused.get().get(table).into_iter().flatten();
        blocks.map(|block| block.last - block.first + 1).sum()
    }

    /// Writes what has changed.
    ///
    /// # Errors
    /// The database fails.
    pub fn save(&self, db: &Connection) -> Result<(), Fault> {
        if !self.unused.is_changed() {
            return Ok(());
        }
        let mut delete = db.prepare_cached("DELETE FROM id_blocks WHERE table_name = ?")?;
        let mut insert =
            db.prepare_cached("INSERT INTO id_blocks (table_name, next, last) VALUES (?, ?, ?)")?;
        for table in &self.touched {
            delete.execute([table])?;
            for block in self.unused.get().get(table).into_iter().flatten() {
                insert.execute(params![table, block.first.cast_signed(), block.last.cast_signed()])?;
            }
        }
        Ok(())
    }
}

impl Working for Blocks {
    fn keep(&mut self) {
        self.unused.keep();
    }

    fn undo(&mut self) {
        self.unused.undo();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrations::migrate;

    fn block(first: u64, last: u64) -> IdBlock {
        IdBlock { first, last }
    }

    #[test]
    fn every_id_of_every_block_is_taken_once() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db, &[], 1).unwrap();
        let mut taken = Vec::new();
        let mut blocks = Blocks::load(&db).unwrap();
        assert_eq!(blocks.take("a"), None);
        assert!(
            blocks.add("a", block(10, 12)) && blocks.add("a", block(20, 21)) && blocks.add("b", block(1, 1))
        );
        assert!(!blocks.add("a", block(12, 15)) && !blocks.add("a", block(5, 4)));
        blocks.keep();
        blocks.save(&db).unwrap();
        for round in 0..5 {
            let mut blocks = Blocks::load(&db).unwrap();
            assert_eq!(blocks.left("a"), 5 - round);
            assert!(blocks.take("a").is_some());
            blocks.undo();
            taken.extend(blocks.take("a"));
            blocks.keep();
            blocks.save(&db).unwrap();
        }
        let mut blocks = Blocks::load(&db).unwrap();
        assert_eq!((taken, blocks.take("a"), blocks.left("b")), (vec![10, 11, 12, 20, 21], None, 1));
    }
}
