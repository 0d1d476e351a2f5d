//! `banyan upgrade`: another process in the place of the running gateway.

use anyhow::{Context as _, bail};
use banyan_runtime::clock;
use banyan_runtime::takeover::Predecessor;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::output::print_json;

/// Asks the process at this door and prints which one accepts now.
pub async fn run(door: &Path, binary: Option<PathBuf>, json: bool) -> anyhow::Result<ExitCode> {
    // The running process may have another working folder.
    let binary = binary.map(std::path::absolute).transpose().context("the path of the binary")?;
    let start = clock::instant();
    let Some(pid) = Predecessor::upgrade(door, binary).await? else {
        bail!("no gateway runs at {}", door.display());
    };
    let took_ms = start.elapsed().as_secs_f64() * 1000.0;
    if json {
        print_json(&serde_json::json!({ "pid": pid, "took_ms": took_ms }))?;
    } else {
        println!("process {pid} accepts now, after {took_ms:.0} ms; the old one ends when its requests have");
    }
    Ok(ExitCode::SUCCESS)
}
