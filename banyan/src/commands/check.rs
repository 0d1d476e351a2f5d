//! `banyan check`: is the monolith's database ready, and which statements make it so; does the collector answer.

use crate::settings::Settings;
use banyan_runtime::otlp;
use banyan_sync::preflight::{Finding, Level, preflight};
use std::process::ExitCode;

use super::output::print_json;

/// Prints the findings; the exit code is 1 where something must be mended.
pub async fn run(settings: &Settings, json: bool) -> anyhow::Result<ExitCode> {
    let mut findings = preflight(&settings.monolith.database, &settings.capabilities).await?;
    findings.extend(collector(&settings.telemetry).await);
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

/// A collector that is down costs traces and nothing else: a warning.
async fn collector(telemetry: &otlp::Config) -> Option<Finding> {
    let endpoint = telemetry.otlp_endpoint.as_deref()?;
    Some(match otlp::probe(endpoint).await {
        Ok(()) => Finding {
            level: Level::Ok,
            what: format!("the collector at {endpoint} takes traces"),
            cure: None,
        },
        Err(cause) => Finding {
            level: Level::Warn,
            what: format!("traces are lost while the collector takes none: {cause}"),
            cure: Some(
                "-- `telemetry.otlp_endpoint` is the base URL of OTLP over HTTP, port 4318 by habit".into(),
            ),
        },
    })
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
