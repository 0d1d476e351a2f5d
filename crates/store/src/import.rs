//! How far the monolith's stream has been applied: its position, its fence at that position, the copy.
//!
//! All of it changes in the transaction of the effects, so that each change of the stream takes effect once.

use crate::fault::Fault;
use crate::letters;
use crate::working::{Single, Working};
use banyan_core::protocol::import::{BinlogPosition, CopyProgress, ImportState};
use banyan_core::row::{FenceChange, FenceOwner};
use banyan_core::{Bucket, BucketSet};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::collections::BTreeMap;

/// What the monolith's fence says, by bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFence {
    moving: BucketSet,
    service: BucketSet,
}

impl StreamFence {
    /// What it says of a bucket; before its first change it is the monolith's.
    pub fn of(&self, bucket: Bucket) -> FenceOwner {
        if self.service.contains(bucket) {
            FenceOwner::Service
        } else if self.moving.contains(bucket) {
            FenceOwner::Moving
        } else {
            FenceOwner::Monolith
        }
    }

    fn set(&mut self, change: &FenceChange) {
        let with = |set: &BucketSet, owner| match change.owner == owner {
            true => set.union(&change.buckets),
            false => set.difference(&change.buckets),
        };
        self.moving = with(&self.moving, FenceOwner::Moving);
        self.service = with(&self.service, FenceOwner::Service);
    }
}

/// The stream at one position.
#[derive(Debug)]
pub struct Stream {
    position: Single<Option<BinlogPosition>>,
    fence: Single<StreamFence>,
    copied: Single<BTreeMap<String, CopyProgress>>,
}

impl Stream {
    /// Reads it.
    ///
    /// # Errors
    /// The database fails.
    pub fn load(db: &Connection) -> Result<Self, Fault> {
        let set = |owner: FenceOwner| -> Result<BucketSet, Fault> {
            let mut select = db.prepare_cached("SELECT buckets FROM stream_fence WHERE owner = ?")?;
            let text: Option<String> = select.query_row([owner.as_str()], |row| row.get(0)).optional()?;
            text.unwrap_or_default().parse().map_err(Fault::Data)
        };
        let fence = StreamFence { moving: set(FenceOwner::Moving)?, service: set(FenceOwner::Service)? };
        let copied = copied(db)?.into_iter().map(|progress| (progress.table.clone(), progress));
        Ok(Self {
            position: Single::loaded(position(db)?),
            fence: Single::loaded(fence),
            copied: Single::loaded(copied.collect()),
        })
    }

    /// The position behind the last applied transaction.
    pub fn position(&self) -> Option<&BinlogPosition> {
        self.position.get().as_ref()
    }

    /// Moves on.
    pub fn advance(&mut self, to: &BinlogPosition) {
        *self.position.change() = Some(to.clone());
    }

    /// What the monolith's fence says at this place of the stream.
    pub fn fence(&self) -> &StreamFence {
        self.fence.get()
    }

    /// Follows a change of the monolith's fence.
    pub fn set_fence(&mut self, change: &FenceChange) {
        self.fence.change().set(change);
    }

    /// Counts a chunk of the copy.
    pub fn copied(&mut self, table: &str, rows: u64, (through, done): (Option<u64>, bool)) {
        let progress = self.copied.change().entry(table.into()).or_insert_with(|| CopyProgress {
            table: table.into(),
            through: None,
            rows: 0,
            done: false,
        });
        progress.rows += rows;
        progress.through = through.or(progress.through);
        progress.done |= done;
    }

    /// Writes what has changed.
    ///
    /// # Errors
    /// The database fails.
    pub fn save(&self, db: &Connection) -> Result<(), Fault> {
        if let Some(position) = self.position.get().as_ref().filter(|_| self.position.is_changed()) {
            db.prepare_cached("INSERT OR REPLACE INTO import_position VALUES (1, ?, ?)")?
                .execute(params![position.file, position.offset.cast_signed()])?;
        }
        if self.fence.is_changed() {
            let mut put = db.prepare_cached("INSERT OR REPLACE INTO stream_fence VALUES (?, ?)")?;
            let StreamFence { moving, service } = self.fence.get();
            put.execute(params![FenceOwner::Moving.as_str(), moving.to_string()])?;
            put.execute(params![FenceOwner::Service.as_str(), service.to_string()])?;
        }
        if self.copied.is_changed() {
            let mut put = db.prepare_cached("INSERT OR REPLACE INTO copy_progress VALUES (?, ?, ?, ?)")?;
            for CopyProgress { table, through, rows, done } in self.copied.get().values() {
                put.execute(params![table, through.map(u64::cast_signed), rows.cast_signed(), done])?;
            }
        }
        Ok(())
    }
}

impl Working for Stream {
    fn keep(&mut self) {
        self.position.keep();
        self.fence.keep();
        self.copied.keep();
    }

    fn undo(&mut self) {
        self.position.undo();
        self.fence.undo();
        self.copied.undo();
    }
}

fn position(db: &Connection) -> Result<Option<BinlogPosition>, Fault> {
    let mut select = db.prepare_cached("SELECT file, file_offset FROM import_position")?;
    let found = select.query_row([], |row| {
        Ok(BinlogPosition { file: row.get(0)?, offset: row.get::<_, i64>(1)?.cast_unsigned() })
    });
    Ok(found.optional()?)
}

fn copied(db: &Connection) -> Result<Vec<CopyProgress>, Fault> {
    let mut select = db.prepare_cached("SELECT table_name, through, copied, done FROM copy_progress")?;
    let rows = select.query_map([], |row| {
        Ok(CopyProgress {
            table: row.get(0)?,
            through: row.get::<_, Option<i64>>(1)?.map(i64::cast_unsigned),
            rows: row.get::<_, i64>(2)?.cast_unsigned(),
            done: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Where the service stands, for sync.
///
/// # Errors
/// The database fails.
pub fn state(db: &Connection) -> Result<ImportState, Fault> {
    Ok(ImportState {
        position: position(db)?,
        copied: copied(db)?,
        dead_letter_buckets: letters::buckets(db)?,
    })
}

/// Whether the copy of each of these tables is complete.
///
/// # Errors
/// The database fails.
pub fn is_copied(db: &Connection, tables: &[&str]) -> Result<bool, Fault> {
    let copied = copied(db)?;
    Ok(tables.iter().all(|table| copied.iter().any(|progress| progress.table == *table && progress.done)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrations::migrate;
    use banyan_core::OwnerEpoch;

    fn fence(owner: FenceOwner, buckets: &str) -> FenceChange {
        FenceChange { buckets: buckets.parse().unwrap(), owner, owner_epoch: OwnerEpoch(2) }
    }

    fn said(stream: &Stream, bucket: u16) -> FenceOwner {
        stream.fence().of(Bucket::try_from(bucket).unwrap())
    }

    #[test]
    fn the_fence_and_the_position_survive_and_are_undone_together() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate(&mut db, &[], 1).unwrap();
        let mut stream = Stream::load(&db).unwrap();
        assert_eq!((stream.position(), said(&stream, 7)), (None, FenceOwner::Monolith));
        stream.set_fence(&fence(FenceOwner::Moving, "0-9"));
        stream.set_fence(&fence(FenceOwner::Service, "5-9"));
        stream.set_fence(&fence(FenceOwner::Monolith, "0,9"));
        let to = BinlogPosition { file: "binlog.000001".into(), offset: 400 };
        stream.advance(&to);
        stream.copied("a", 10, (Some(40), false));
        stream.keep();
        stream.set_fence(&fence(FenceOwner::Monolith, "0-4095"));
        stream.advance(&BinlogPosition { offset: 900, ..to.clone() });
        stream.copied("a", 1, (None, true));
        stream.undo();
        stream.save(&db).unwrap();

        let stream = Stream::load(&db).unwrap();
        assert_eq!(stream.position(), Some(&to));
        let table = [0, 1, 5, 8, 9, 10].map(|bucket| said(&stream, bucket));
        use FenceOwner::{Monolith, Moving, Service};
        assert_eq!(table, [Monolith, Moving, Service, Service, Monolith, Monolith]);
        let copied = CopyProgress { table: "a".into(), through: Some(40), rows: 10, done: false };
        assert_eq!(state(&db).unwrap().copied, [copied]);
        assert!(!is_copied(&db, &["a"]).unwrap() && is_copied(&db, &[]).unwrap());
    }
}
