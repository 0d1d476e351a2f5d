//! What every part of Banyan agrees on: buckets, ownership, capabilities, rows and the messages between roles.
//!
//! Invariants: no async, no SQL, no clock, no I/O. A type that crosses a process boundary lives in
//! [`protocol`]; its JSON form is the contract between roles.

pub mod bucket;
pub mod capability;
pub mod multipart;
pub mod ownership;
pub mod pattern;
pub mod protocol;
pub mod row;

pub use bucket::{BUCKETS, Bucket, BucketSet};
pub use capability::Capability;
pub use ownership::{Holding, OwnerEpoch, OwnershipTable, Phase, Side, Turn};
pub use row::Row;
