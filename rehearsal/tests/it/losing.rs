//! A service is lost under load: what is missing afterwards is what was printed, and nothing with `wait`.

use banyan_testkit::{Part, require};
use serde_json::Value;
use std::process::Command;

/// Plays it; what was found.
fn play(dual_write: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("found.json");
    let output = Command::new(env!("CARGO_BIN_EXE_rehearsal"))
        .args(["lose-service", "--dual-write", dual_write, "--json"])
        .arg(&file)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap()
}

#[test]
fn what_a_lost_service_takes_with_it_is_what_was_printed() {
    if [Part::Monolith, Part::Smtp].into_iter().any(|part| require(part).is_none()) {
        return;
    }
    let found = play("async");
    assert_eq!((&found["missing_unprinted"], &found["printed_there"]), (&0.into(), &0.into()), "{found}");
    assert!(found["printed"].as_u64() > Some(0), "nothing was lost, so nothing is shown: {found}");
    assert_eq!(found["mismatches"], 0, "{found}");

    let found = play("wait");
    assert_eq!((&found["missing"], &found["printed"]), (&0.into(), &0.into()), "{found}");
    assert!(found["writes_acknowledged"].as_u64() > Some(0), "{found}");
    assert_eq!(found["mismatches"], 0, "{found}");
}
