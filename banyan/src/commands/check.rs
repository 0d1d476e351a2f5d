//! `banyan check`: is the monolith's database ready, and which statements make it so.

use crate::settings::Settings;
use banyan_sync::preflight::{Finding, Level, preflight};
use std::process::ExitCode;

use super::output::print_json;

/// Prints the findings; the exit code is 1 where something must be mended.
pub async fn run(settings: &Settings, json: bool) -> anyhow::Result<ExitCode> {
    let findings = preflight(&settings.monolith.database, &settings.capabilities).await?;
    let ready = findings.iter().all(|f| f.level != Level::Mend);
    if json {
        print_json(&findings)?;
    } else {
        findings.iter().for_each(show);
        let verdict = if ready { "ready" } else { "not ready: mend what is marked with ✗" };
        println!("{verdict}");
    }
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(finding: &Finding) {
    let mark = match finding.level {
        Level::Ok => "✓",
        Level::Warn => "!",
        Level::Mend => "✗",
    };
    println!("{mark} {}", finding.what);
    if let Some(cure) = &finding.cure {
        cure.lines().for_each(|line| println!("    {line}"));
    }
}
