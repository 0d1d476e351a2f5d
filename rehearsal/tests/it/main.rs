//! The rehearsal as a person uses it: on a terminal, with real servers.

mod keys;
mod terminal;
