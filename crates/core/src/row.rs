//! Rows of the monolith on the wire between sync and a service.
//!
//! One mapping of MySQL values to JSON, used by copy, stream, reverse and verify alike:
//!
//! | MySQL | JSON |
//! |---|---|
//! | integers, signed and unsigned, `YEAR`, `TINYINT(1)` | number (exact, up to 2^64-1) |
//! | `DECIMAL` | string, the exact text (`"12.50"`) |
//! | `FLOAT`, `DOUBLE` | number |
//! | `CHAR`, `VARCHAR`, `TEXT`, `JSON` | string, as Unicode |
//! | `ENUM` | string, the label; `SET` string, the labels joined by commas |
//! | `DATE`, `TIME`, `DATETIME`, `TIMESTAMP` | string as MySQL prints it, with the declared fraction digits; zero dates stay `"0000-00-00 00:00:00"`; `TIMESTAMP` in UTC |
//! | `BIT` | number |
//! | `BINARY`, `VARBINARY`, `BLOB` | string `"base64:…"`, `BINARY` padded to its length |
//! | `NULL` | null |

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A row: column name to value, in the mapping of this module.
pub type Row = BTreeMap<String, Value>;

/// What happened to a row in the monolith's binlog.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Change {
    /// A row was inserted.
    Insert {
        /// The table.
        table: String,
        /// The new row.
        after: Row,
    },
    /// A row was changed.
    Update {
        /// The table.
        table: String,
        /// The row before.
        before: Row,
        /// The row after.
        after: Row,
    },
    /// A row was deleted.
    Delete {
        /// The table.
        table: String,
        /// The row as it was.
        before: Row,
    },
    /// The fence of buckets was set: what follows in the binlog was written under it.
    Fence(FenceChange),
    /// A write of the monolith to a service-owned bucket, recorded for the service to decide.
    Intent(Intent),
}

/// A change of the monolith's fence, as read from the binlog.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FenceChange {
    /// The buckets that were set.
    pub buckets: crate::BucketSet,
    /// What the fence says from here on.
    pub owner: FenceOwner,
    /// The owner epoch that the fence carries; identifies the watermark.
    pub owner_epoch: crate::OwnerEpoch,
}

/// Who may write according to the monolith's fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FenceOwner {
    /// The monolith's own code may write.
    Monolith,
    /// Nobody may write: a handover is under way.
    Moving,
    /// The service owns the bucket; the monolith's writes are strays.
    Service,
}

impl FenceOwner {
    /// The word used in JSON and SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Monolith => "monolith",
            Self::Moving => "moving",
            Self::Service => "service",
        }
    }
}

/// What a monolith's update wanted for a row of a service-owned bucket; the monolith's row was kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// The intent's number in the monolith.
    pub id: u64,
    /// The table.
    pub table: String,
    /// The row that the monolith kept.
    pub before: Row,
    /// The row that the statement wanted.
    pub wanted: Row,
}

/// A row that reverse writes into the monolith.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum RowWrite {
    /// Insert the row or set all its columns.
    Upsert {
        /// The table.
        table: String,
        /// The whole row.
        row: Row,
    },
    /// Delete the row with this primary key.
    Delete {
        /// The table.
        table: String,
        /// The primary key's columns.
        key: Row,
    },
}
