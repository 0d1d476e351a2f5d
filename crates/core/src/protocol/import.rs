//! Sync to a service: the monolith's changes, applied with their position in one transaction.

use crate::row::Change;
use crate::{BucketSet, Row};
use serde::{Deserialize, Serialize};

/// A position in the monolith's binlog. Ordered within one source identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BinlogPosition {
    /// The file, such as `binlog.000003`.
    pub file: String,
    /// The offset behind the last applied transaction.
    pub offset: u64,
}

/// `GET /v1/import`: where the service stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportState {
    /// The position to go on from; `None` before the first batch.
    pub position: Option<BinlogPosition>,
    /// Progress of the copy by table.
    pub copied: Vec<CopyProgress>,
    /// Buckets with a dead letter or a conflict.
    pub dead_letter_buckets: BucketSet,
}

/// How far the copy of a table has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyProgress {
    /// The table.
    pub table: String,
    /// The highest key copied.
    pub through: Option<u64>,
    /// Rows copied.
    pub rows: u64,
    /// Whether the whole table has been copied.
    pub done: bool,
}

/// `POST /v1/import`: transactions of the monolith in binlog order. One commit at the service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImportBatch {
    /// The position that the service must hold, or it answers 409 `position_mismatch`.
    pub from: Option<BinlogPosition>,
    /// The position that it holds afterwards.
    pub to: BinlogPosition,
    /// The changes, our own (origin-tagged) ones left out.
    pub changes: Vec<Change>,
    /// A chunk of the copy whose upper bound is `to`.
    pub chunk: Option<CopyChunk>,
    /// The traces that changes belong to; no effect on any row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traces: Vec<ImportTrace>,
}

/// Changes of a batch that belong to one trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportTrace {
    /// The span below which the service goes on, as W3C `traceparent`.
    pub traceparent: String,
    /// The changes, by their place in the batch.
    pub changes: Vec<usize>,
}

/// Rows of a copy chunk that no change of the stream has overtaken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CopyChunk {
    /// The table.
    pub table: String,
    /// The rows; those of buckets whose fence is not `monolith` are ignored by the service.
    pub rows: Vec<Row>,
    /// The highest key that the chunk covers; `None` for the last chunk.
    pub through: Option<u64>,
    /// Whether the table is complete with this chunk.
    pub done: bool,
}

/// The answer to a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportOutcome {
    /// Rows written as they stand in the monolith.
    pub applied: u64,
    /// Stray inserts and intents taken over by the service.
    pub imported: u64,
    /// Changes that became dead letters.
    pub dead_letters: u64,
}

/// `GET /v1/letters`: a change that could not be applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its number.
    pub id: u64,
    /// The bucket whose handover it blocks.
    pub bucket: crate::Bucket,
    /// The change.
    pub change: Change,
    /// Why it could not be applied.
    pub cause: String,
}

/// `POST /v1/letters/{id}/discard`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discard {
    /// Why the change may be dropped; kept in the audit.
    pub reason: String,
}
