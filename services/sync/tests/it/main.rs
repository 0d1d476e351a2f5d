//! sync on a real MariaDB, with a small service beside it.
#![cfg(test)]

mod blocks;
mod copying;
mod faults;
mod fencing;
mod forcing;
mod gates;
mod marks;
mod peer;
mod preflight;
mod reversing;
mod server;
mod triggers;
mod types;
mod values;
mod verifying;
mod world;
