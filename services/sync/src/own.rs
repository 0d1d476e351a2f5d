//! Banyan's own tables in the monolith's database: their statements, and how their row events are read.
//!
//! The tables of the streams are made when sync starts, those of the fence by `banyan fence install`. All
//! are InnoDB: every row commits with the transaction that writes it.

use crate::database::{Database, DatabaseFault};
use crate::schema::charset::Charset;
use crate::schema::kind::Kind;
use banyan_core::row::{FenceOwner, Intent};
use banyan_core::{Bucket, OwnerEpoch, Row};
use mysql_async::{Conn, Value};

/// A table of Banyan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnTable {
    /// Its name.
    pub name: &'static str,
    /// Its columns with their types.
    pub columns: &'static [(&'static str, &'static str)],
    /// Its primary key.
    pub key: &'static str,
}

/// Names and ids, compared byte by byte.
const NAME: &str = "VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL";
const BUCKET: &str = "SMALLINT UNSIGNED NOT NULL";
const NUMBER: &str = "BIGINT UNSIGNED NOT NULL";
const JSON: &str = "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL";
const OWNER: &str = "ENUM('monolith','moving','service') CHARACTER SET ascii COLLATE ascii_bin NOT NULL";

/// What writers lock shared and the coordinator exclusively.
pub const GATE: OwnTable = OwnTable {
    name: "banyan_gate",
    columns: &[("capability", NAME), ("bucket", BUCKET)],
    key: "capability, bucket",
};
/// Who may write.
pub const FENCE: OwnTable = OwnTable {
    name: "banyan_fence",
    columns: &[("capability", NAME), ("bucket", BUCKET), ("owner", OWNER), ("owner_epoch", NUMBER)],
    key: "capability, bucket",
};
/// The newest turn that a bucket has obeyed; writers never lock it.
pub const GUARD: OwnTable = OwnTable {
    name: "banyan_guard",
    columns: &[
        ("capability", NAME),
        ("bucket", BUCKET),
        ("term", NUMBER),
        ("attempt", NUMBER),
        ("step", NUMBER),
    ],
    key: "capability, bucket",
};
/// Origin tags: what marks a transaction as Banyan's own.
pub const TAG: OwnTable = OwnTable {
    name: "banyan_tag",
    columns: &[
        ("capability", NAME),
        ("lane", "SMALLINT UNSIGNED NOT NULL"),
        ("incarnation", NAME),
        ("position", NUMBER),
        ("term", NUMBER),
    ],
    key: "capability, lane",
};
/// What updates of service-owned rows wanted.
pub const INTENT: OwnTable = OwnTable {
    name: "banyan_intent",
    columns: &[
        ("id", "BIGINT UNSIGNED NOT NULL AUTO_INCREMENT"),
        ("capability", NAME),
        ("table_name", NAME),
        ("bucket", BUCKET),
        ("before_row", JSON),
        ("wanted_row", JSON),
        ("created_at", "DATETIME(3) NOT NULL"),
    ],
    key: "id",
};
/// Leased blocks of ids, by their last id.
pub const BLOCK: OwnTable = OwnTable {
    name: "banyan_block",
    columns: &[("capability", NAME), ("table_name", NAME), ("first_id", NUMBER), ("last_id", NUMBER)],
    key: "capability, table_name, last_id",
};
/// Events of the service that came after the monolith had taken over without it.
pub const CONFLICT: OwnTable = OwnTable {
    name: "banyan_conflict",
    columns: &[
        ("id", "BIGINT UNSIGNED NOT NULL AUTO_INCREMENT"),
        ("capability", NAME),
        ("incarnation", NAME),
        ("position", NUMBER),
        ("bucket", BUCKET),
        ("event", JSON),
        ("queued_at", "DATETIME(3) NOT NULL"),
        ("settled_at", "DATETIME(3) NULL"),
        ("settled_how", "VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NULL"),
        ("settled_by", "VARCHAR(200) CHARACTER SET utf8mb4 NULL"),
        ("reason", "VARCHAR(2000) CHARACTER SET utf8mb4 NULL"),
    ],
    key: "id",
};
/// Heartbeats and the bounds of copy chunks.
pub const HEARTBEAT: OwnTable = OwnTable {
    name: "banyan_heartbeat",
    columns: &[
        ("name", "VARCHAR(96) CHARACTER SET ascii COLLATE ascii_bin NOT NULL"),
        ("writer", NAME),
        ("beat", NUMBER),
    ],
    key: "name",
};

/// The tables that the streams need.
pub const OF_STREAMS: [OwnTable; 3] = [TAG, HEARTBEAT, CONFLICT];
/// The tables that the fence needs.
pub const OF_FENCE: [OwnTable; 5] = [GATE, FENCE, GUARD, INTENT, BLOCK];

impl OwnTable {
    /// Makes the table where it is missing; an existing one is left as it is.
    ///
    /// # Errors
    /// The database fails.
    pub async fn create(self, database: &Database, connection: &mut Conn) -> Result<(), DatabaseFault> {
        // Asked first: `IF NOT EXISTS` would write to the binlog each time.
        let there = format!(
            "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = '{}'",
            self.name
        );
        if database.rows::<u8>(connection, &there).await?.is_empty() {
            let columns: Vec<String> =
                self.columns.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
            let (name, columns, key) = (self.name, columns.join(", "), self.key);
            let sql =
                format!("CREATE TABLE IF NOT EXISTS {name} ({columns}, PRIMARY KEY ({key})) ENGINE=InnoDB");
            database.run(connection, &sql).await?;
        }
        Ok(())
    }

    /// The names of its columns, in order.
    pub fn column_names(self) -> Vec<&'static str> {
        self.columns.iter().map(|(name, _)| *name).collect()
    }
}

/// A row event of one of Banyan's own tables, as far as a stream cares.
#[derive(Clone, Debug, PartialEq)]
pub enum OwnRow {
    /// The fence of a bucket.
    Fence(Bucket, FenceOwner, OwnerEpoch),
    /// The transaction is Banyan's own.
    Tag,
    /// A new intent.
    Intent(Intent),
    /// A heartbeat or a chunk bound: its name, who wrote it, its number.
    Beat(String, String, u64),
}

/// Reads the new row of an event; `None` where it belongs to another capability.
///
/// # Errors
/// The row is not what the table's statement says.
pub fn read(table: OwnTable, capability: &str, values: &[Value]) -> Result<Option<OwnRow>, String> {
    let text = |place: usize| {
        decode(&Kind::Text(Charset::Utf8), values, place).map(|v| v.as_str().unwrap_or_default().to_owned())
    };
    let number = |place: usize| decode(&UNSIGNED, values, place).map(|v| v.as_u64().unwrap_or_default());
    let row = match table.name {
        "banyan_fence" if text(0)? == capability => {
            let bucket = u16::try_from(number(1)?).map_err(|e| e.to_string()).and_then(Bucket::try_from)?;
            let owner = match decode(&owners(), values, 2)?.as_str() {
                Some("monolith") => FenceOwner::Monolith,
                Some("moving") => FenceOwner::Moving,
                Some("service") => FenceOwner::Service,
                other => return Err(format!("the fence of bucket {bucket} says {other:?}")),
            };
            Some(OwnRow::Fence(bucket, owner, OwnerEpoch(number(3)?)))
        }
        "banyan_tag" if text(0)? == capability => Some(OwnRow::Tag),
        "banyan_intent" if text(1)? == capability => {
            let row =
                |place| text(place).and_then(|t| serde_json::from_str::<Row>(&t).map_err(|e| e.to_string()));
            Some(OwnRow::Intent(Intent { id: number(0)?, table: text(2)?, before: row(4)?, wanted: row(5)? }))
        }
        "banyan_heartbeat" => Some(OwnRow::Beat(text(0)?, text(1)?, number(2)?)),
        _ => None,
    };
    Ok(row)
}

const UNSIGNED: Kind = Kind::Integer { bits: 64, unsigned: true };

fn owners() -> Kind {
    Kind::Enum(["monolith", "moving", "service"].map(String::from).to_vec())
}

fn decode(kind: &Kind, values: &[Value], place: usize) -> Result<serde_json::Value, String> {
    let raw = values.get(place).ok_or_else(|| format!("column {place} of an own table is missing"))?;
    kind.decode(raw)
}

/// The name of a capability's chunk bounds in `banyan_heartbeat`; its heartbeat has the capability's name.
pub fn bounds_name(capability: &str) -> String {
    format!("{capability}/copy")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_other_capabilities_are_not_read() {
        let row = [Value::from("payments"), 7.into(), 3.into(), 9.into()];
        assert_eq!(read(FENCE, "notifications", &row), Ok(None));
        let wanted = OwnRow::Fence(7.try_into().unwrap(), FenceOwner::Service, OwnerEpoch(9));
        assert_eq!(read(FENCE, "payments", &row), Ok(Some(wanted)));
        assert!(
            read(FENCE, "payments", &[Value::from("payments"), 4096.into(), 3.into(), 9.into()]).is_err()
        );
    }
}
