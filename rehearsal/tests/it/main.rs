//! The rehearsal's own commands, on real servers.

mod crash;
