//! The crash soak, short. `bin/soak crash --rounds N` is the long one.

use banyan_testkit::{Part, require};
use std::process::Command;

/// A quarter of the rounds kills at a moment, the others at a failpoint each.
const ROUNDS: &str = "50";

#[test]
fn fifty_crashes_lose_nothing_and_need_nobody() {
    let (Some(()), Some(())) = (require(Part::Monolith), require(Part::Smtp)) else { return };
    let output = Command::new(env!("CARGO_BIN_EXE_rehearsal"))
        .args(["crash", "--rounds", ROUNDS])
        .output()
        .expect("the rehearsal is built");
    let said = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{told}");
    assert!(said.contains("50 of 50 rounds passed"), "{said}");
}
