//! The rehearsal as a person uses it: on a terminal, with real servers.
#![cfg(test)]

mod keys;
mod terminal;
