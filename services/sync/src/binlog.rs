//! The monolith's binlog as a sequence of whole transactions.
//!
//! Invariants: a position is handed out only behind a commit; a transaction comes whole or not at all;
//! rows of captured tables are decoded by the shape read from `information_schema`, checked against each
//! table map. What is not known for certain (an unknown event, a checksum that does not fit, a statement
//! that may have changed captured rows) ends the stream with a fault that names its place; the next
//! attempt meets it again until a person has dealt with it.

mod assemble;
mod catalog;
mod event;
mod source;
mod statement;

pub use assemble::{Group, LoadedChunk};
pub use catalog::Catalog;
pub use source::{Source, StreamFault, head};
