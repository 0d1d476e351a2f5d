//! Each key does what it says, and the terminal is as before afterwards.

use banyan_testkit::{Part, require};
use serde_json::Value;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use tempfile::TempDir;

use super::terminal::Terminal;

/// Each test has servers of its own; two at once would only wait for each other.
static ONE_BY_ONE: Mutex<()> = Mutex::new(());

/// A rehearsal on a terminal that is asked for its settings afterwards; `None` where a part is missing.
fn rehearse(options: &str) -> Option<(Terminal, TempDir)> {
    require(Part::Monolith)?;
    require(Part::Smtp)?;
    let rehearsal = Path::new(env!("CARGO_BIN_EXE_rehearsal"));
    if !rehearsal.with_file_name("banyan").is_file() {
        let line = "skipped: banyan: its binary is not built (cargo build --workspace)";
        assert!(std::env::var_os("BANYAN_REQUIRE_ALL").is_none(), "{line}");
        let _ = writeln!(std::io::stderr(), "{line}");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let files = "--json scorecard.json --report report.html";
    let command = format!(
        "trap : INT; '{}' {options} --users 100 --rate 10 {files}; status=$?; stty -a; exit $status",
        rehearsal.display()
    );
    Some((Terminal::run(&command, folder.path())?, folder))
}

fn scorecard(folder: &TempDir) -> Value {
    let text = std::fs::read_to_string(folder.path().join("scorecard.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn count(card: &Value, list: &str) -> usize {
    card[list].as_array().unwrap().len()
}

/// The audit found nothing, the report is there, and the terminal is as before.
fn well_ended(terminal: Terminal, folder: &TempDir) -> Value {
    let (_, shown) = terminal.end();
    let card = scorecard(folder);
    for bound in ["writes_lost", "writes_doubled", "mails_doubled"] {
        assert_eq!(card[bound], 0, "{bound}: {:#}", card["audit"]);
    }
    assert_eq!(card["verify"]["mismatches"], 0, "{:#}", card["audit"]);
    assert_eq!(card["problems"], Value::Array(vec![]));
    let report = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(report.contains("by hand"), "the phase stands in the report");
    as_before(&shown);
    card
}

/// What `stty` says at the end: the terminal waits for lines and echoes.
fn as_before(shown: &str) {
    let settings: Vec<&str> = shown.rsplit("speed ").next().unwrap_or_default().split_whitespace().collect();
    assert!(settings.contains(&"icanon") && settings.contains(&"echo"), "{settings:?}");
}

#[test]
fn every_key_does_what_it_says() {
    let _alone = ONE_BY_ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((mut terminal, folder)) = rehearse("--by-hand") else { return };
    terminal.see("keys: r roll back");
    for (key, steps) in [
        ("a", &["a: asked for 1 %", "  1 % reached after"][..]),
        ("A", &["a: asked for 10 %", "10 % reached after"]),
        ("p", &["the payment provider hangs"]),
        ("p", &["the payment provider answers again"]),
        ("s", &["s: spike", "the spike is over"]),
        ("xk", &["k: kill -9 ", "recovered after "]),
        ("r", &["r: asked for 0 %", "  0 % reached after"]),
        ("q", &["q: finishing", "Scorecard"]),
    ] {
        terminal.press(key);
        steps.iter().for_each(|step| terminal.see(step));
    }
    let card = well_ended(terminal, &folder);
    assert_eq!((count(&card, "rollbacks_ms"), count(&card, "recoveries")), (1, 1));
    let spike = &card["spike"];
    let counted = |routes: &str| -> u64 {
        ["answered", "shed", "failed"].iter().map(|what| spike[routes][what].as_u64().unwrap()).sum()
    };
    assert!(counted("monolith") + counted("service") > 100, "{spike:#}");
    assert!(card["handovers"].as_u64().unwrap() >= 3);
}

#[test]
fn a_key_ends_the_schedule_and_acts() {
    let _alone = ONE_BY_ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((mut terminal, folder)) = rehearse("--quick") else { return };
    terminal.see("keys: r roll back");
    terminal.press("a");
    terminal.see("the schedule is over");
    // How far the schedule had come is left to chance.
    terminal.see("a: asked for ");
    terminal.see(" % reached after");
    terminal.press("q");
    terminal.see("Scorecard");
    let card = well_ended(terminal, &folder);
    assert!(card["handovers"].as_u64().unwrap() >= 1);
}

#[test]
fn ctrl_c_ends_everything_and_gives_the_terminal_back() {
    let _alone = ONE_BY_ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((mut terminal, folder)) = rehearse("--by-hand") else { return };
    terminal.see("keys: r roll back");
    terminal.press("\u{3}");
    terminal.see("interrupted: every server has been stopped");
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(130), "as shells have it");
    as_before(&shown);
    assert!(!folder.path().join("scorecard.json").exists(), "an interrupted rehearsal proves nothing");
}

#[test]
fn without_a_terminal_nothing_is_left_to_a_person() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_rehearsal"))
        .arg("--by-hand")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("needs a terminal"));
}
