//! The rehearsal's programs on real servers, and what is shipped beside Banyan.
#![cfg(test)]

mod crash;
mod deploy;
mod keys;
mod losing;
mod terminal;
mod trace;

use std::path::{Path, PathBuf};

/// The workspace's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
