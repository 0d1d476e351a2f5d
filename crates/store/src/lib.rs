//! The pattern of every service: a pure core in a batched shell, on one SQLite file.
//!
//! Map: [`shell`] the one way to write, [`core`] what it asks of a service; [`working`] the rows of a batch, with undo; [`database`] the file,
//! its writer and readers; [`migrations`]; [`outbox`] the events; [`ownership`] which buckets may be written,
//! and [`lease`] whether at all; [`answers`] stored outcomes; [`import`], [`letters`] and [`blocks`] what a
//! service keeps about the monolith's stream; [`fault`].
//!
//! Invariants: one writer thread per file; an answer follows its commit; ownership is checked within the
//! transaction of the write; position and effect are one transaction; a rejection undoes its own command
//! only; nothing here talks to the network.

pub mod answers;
pub mod blocks;
pub mod core;
pub mod database;
pub mod fault;
pub mod import;
pub mod lease;
pub mod letters;
pub mod migrations;
pub mod outbox;
pub mod ownership;
pub mod shell;
pub mod working;

pub use core::{Claim, Context, Core, Refusal};
pub use database::{Database, Readers};
pub use fault::Fault;
pub use lease::Lease;
pub use outbox::Outbox;
pub use shell::{Limits, Shell};
