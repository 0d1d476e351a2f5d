//! Gates, fence, guard and triggers in the monolith's database.
//!
//! Installing is idempotent and never resets a row; removing is refused while the service owns a bucket or
//! one moves. Triggers come after the rows that they read: a missing row rejects a write.

pub mod gates;
mod install;
pub mod set;
pub mod trigger;

pub use install::{Installed, inspect, install, remove};

use crate::own::OwnTable;
use banyan_core::BucketSet;

/// The rows of some buckets, as the tables of a statement: `wanted` and, for each, its row `x`.
///
/// A join, so that each row is looked up by its whole primary key. A long `IN (…)` leaves the optimizer the
/// choice to read all rows of the capability instead, and then rows of other buckets count as locked.
pub fn rows(table: OwnTable, capability: &str, buckets: &BucketSet) -> String {
    let numbers = buckets.iter().map(|b| b.to_string()).collect::<Vec<_>>().join(",");
    format!(
        "JSON_TABLE('[{numbers}]', '$[*]' COLUMNS (bucket SMALLINT UNSIGNED PATH '$')) AS wanted
         STRAIGHT_JOIN {} AS x ON x.capability = '{capability}' AND x.bucket = wanted.bucket",
        table.name
    )
}
