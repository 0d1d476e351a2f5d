//! Transactions that travel to the service in one commit, and what their commit promises to whom.

use crate::binlog::Group;
use banyan_core::OwnerEpoch;
use banyan_core::protocol::import::{BinlogPosition, CopyChunk, ImportBatch};
use banyan_core::row::{Change, FenceOwner};
use banyan_runtime::clock;
use std::time::Instant;
use tokio::sync::oneshot;

/// How much a batch of several transactions may hold. A single larger transaction travels whole.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Changes.
    pub changes: usize,
    /// About how many bytes as JSON.
    pub bytes: usize,
}

/// Consecutive transactions.
#[derive(Debug)]
pub struct Batch {
    to: BinlogPosition,
    changes: Vec<Change>,
    chunk: Option<CopyChunk>,
    promises: Promises,
    bytes: usize,
    begun: Instant,
}

/// What becomes true once the service has committed the batch.
#[derive(Debug, Default)]
pub struct Promises {
    /// Watermarks that it has reached.
    pub marks: Vec<OwnerEpoch>,
    /// Heartbeats that it has applied.
    pub beats: Vec<u64>,
    /// Who waits for the chunk.
    pub chunk: Option<oneshot::Sender<()>>,
    /// Intents that it has decided.
    pub intents: Vec<u64>,
}

impl Batch {
    /// A batch that begins with a transaction.
    pub fn new(first: Group) -> Self {
        let mut batch = Self {
            to: first.position.clone(),
            changes: Vec::new(),
            chunk: None,
            promises: Promises::default(),
            bytes: 0,
            begun: clock::instant(),
        };
        batch.take(first);
        batch
    }

    /// Adds the next transaction; gives it back where the batch cannot hold it.
    pub fn push(&mut self, group: Group, limits: Limits) -> Option<Group> {
        let too_many = self.changes.len() + group.changes.len() > limits.changes;
        if !group.changes.is_empty() && (too_many || self.bytes + group.bytes > limits.bytes)
            || self.chunk.is_some()
        {
            return Some(group);
        }
        self.take(group);
        None
    }

    fn take(&mut self, group: Group) {
        for change in &group.changes {
            match change {
                Change::Fence(fence) if fence.owner == FenceOwner::Moving => {
                    self.promises.marks.push(fence.owner_epoch);
                }
                Change::Intent(intent) => self.promises.intents.push(intent.id),
                _ => {}
            }
        }
        self.to = group.position;
        self.changes.extend(group.changes);
        self.promises.beats.extend(group.beat);
        self.bytes += group.bytes;
        if let Some(loaded) = group.chunk {
            self.chunk = Some(loaded.chunk);
            self.promises.chunk = Some(loaded.committed);
        }
    }

    /// Since when it is being filled.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// Whether the service, or somebody who waits for it, needs the batch now.
    pub fn is_urgent(&self) -> bool {
        !self.changes.is_empty() || self.chunk.is_some() || !self.promises.beats.is_empty()
    }

    /// Whether nothing more fits: a chunk ends its batch, whose position is the chunk's upper bound.
    pub fn is_full(&self, limits: Limits) -> bool {
        self.chunk.is_some() || self.changes.len() >= limits.changes || self.bytes >= limits.bytes
    }

    /// The message, and what its commit promises.
    pub fn into_message(self, from: BinlogPosition) -> (ImportBatch, Promises) {
        let Self { to, changes, chunk, .. } = self;
        let message = ImportBatch { from: Some(from), to, changes, chunk, traces: Vec::new() };
        (message, self.promises)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::LoadedChunk;
    use banyan_core::row::FenceChange;
    use banyan_core::{BucketSet, Row};

    const LIMITS: Limits = Limits { changes: 3, bytes: 100 };

    fn group(offset: u64, changes: usize) -> Group {
        let change = Change::Delete { table: "t".into(), before: Row::new() };
        let position = BinlogPosition { file: "b".into(), offset };
        Group { position, changes: vec![change; changes], beat: None, chunk: None, bytes: changes * 20 }
    }

    #[test]
    fn a_batch_holds_what_fits_and_ends_behind_its_last_transaction() {
        let mut batch = Batch::new(group(10, 2));
        assert!(batch.push(group(20, 1), LIMITS).is_none() && batch.is_full(LIMITS));
        assert!(batch.push(group(30, 0), LIMITS).is_none(), "an empty transaction always fits");
        assert_eq!(batch.push(group(40, 1), LIMITS).unwrap().position.offset, 40);
        let (message, _) = batch.into_message(BinlogPosition { file: "b".into(), offset: 4 });
        assert_eq!((message.to.offset, message.changes.len(), message.from.unwrap().offset), (30, 3, 4));
        assert!(Batch::new(group(1, 9)).is_full(LIMITS), "a larger transaction travels whole");
    }

    #[test]
    fn a_chunk_ends_its_batch() {
        let mut with_chunk = group(20, 0);
        let chunk = CopyChunk { table: "t".into(), rows: vec![], through: None, done: true };
        with_chunk.chunk = Some(LoadedChunk { chunk, committed: oneshot::channel().0 });
        let mut batch = Batch::new(group(10, 0));
        assert!(!batch.is_urgent());
        assert!(batch.push(with_chunk, LIMITS).is_none());
        assert!(batch.is_urgent() && batch.push(group(30, 0), LIMITS).is_some());
        assert_eq!(batch.into_message(BinlogPosition { file: "b".into(), offset: 4 }).0.to.offset, 20);
    }

    #[test]
    fn only_the_fence_of_a_move_is_a_mark() {
        let fence = |owner, epoch| {
            Change::Fence(FenceChange { buckets: BucketSet::all(), owner, owner_epoch: OwnerEpoch(epoch) })
        };
        let mut moving = group(10, 0);
        moving.changes = vec![fence(FenceOwner::Moving, 7), fence(FenceOwner::Service, 8)];
        moving.beat = Some(5);
        let (_, promises) = Batch::new(moving).into_message(BinlogPosition { file: "b".into(), offset: 4 });
        assert_eq!((promises.marks, promises.beats), (vec![OwnerEpoch(7)], vec![5]));
    }
}
