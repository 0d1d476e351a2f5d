//! The shell on a real file, with a core small enough to be compared with a model.
#![cfg(test)]

mod accounts;
mod outbox;
mod shell;
