//! The report: one HTML file with everything that was measured, beside what the case study claims.
//!
//! The file needs nothing else: plots are SVG, styles are inside, there is no script. Where something was not
//! measured it says so.

mod machine;
mod plot;
mod plots;
mod results;

use anyhow::Context as _;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;
use std::path::{Path, PathBuf};

use crate::scorecard::Scorecard;
use crate::timeline::Timeline;

const PAGE: &str = include_str!("report/report.html");

/// What the template fills in.
#[derive(Serialize)]
struct Page<'c> {
    passed: bool,
    verdict: String,
    broken: &'c [String],
    figures: Vec<(String, &'static str)>,
    results: Vec<results::Row>,
    plots: Vec<plot::Plot>,
    time: plot::Time,
    bounds: Vec<BoundRow>,
    table: Vec<(String, String)>,
    facts: Vec<(&'static str, String)>,
}

/// A bound, as the page shows it.
#[derive(Serialize)]
struct BoundRow {
    name: String,
    value: String,
    allowed: String,
    class: &'static str,
    verdict: &'static str,
}

/// Writes the report and says where; to a default place where no file is named.
///
/// # Errors
/// The file that was asked for cannot be written.
pub fn write(card: &Scorecard, timeline: &Timeline, file: Option<&Path>) -> anyhow::Result<()> {
    let text = render(card, timeline)?;
    let path = file.map_or_else(usual, Path::to_owned);
    let written = store(&path, &text);
    match (written, file) {
        (Ok(()), _) => println!("report: {}", std::path::absolute(&path).unwrap_or(path).display()),
        (Err(error), Some(_)) => return Err(error),
        // Nobody asked for it: the rehearsal is worth as much without.
        (Err(error), None) => eprintln!("no report: {error:#}; name another place with --report FILE"),
    }
    Ok(())
}

/// Cargo's own folder, which version control ignores, where there is one.
fn usual() -> PathBuf {
    if Path::new("target").is_dir() { "target/rehearsal/report.html" } else { "rehearsal-report.html" }.into()
}

fn store(path: &Path, text: &str) -> anyhow::Result<()> {
    let named = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(named)?;
    }
    std::fs::write(path, text).with_context(named)
}

fn render(card: &Scorecard, timeline: &Timeline) -> anyhow::Result<String> {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates.add_template("report.html", PAGE)?;
    let time = plots::time(timeline);
    let page = Page {
        passed: card.passed,
        verdict: card.verdict(),
        broken: &card.broken,
        figures: figures(card),
        results: results::rows(card),
        plots: plots::all(timeline, &time),
        time,
        bounds: card.bounds.iter().map(bound_row).collect(),
        table: card.rows(),
        facts: machine::facts(card),
    };
    templates.get_template("report.html")?.render(Serde(&page)).context("the report's template")
}

fn figures(card: &Scorecard) -> Vec<(String, &'static str)> {
    vec![
        (card.requests.to_string(), "requests"),
        (card.failed.to_string(), "failed"),
        (card.writes_acknowledged.to_string(), "writes acknowledged"),
        (card.writes_lost.to_string(), "writes lost"),
        (card.writes_doubled.to_string(), "written twice"),
        (card.handovers.to_string(), "handovers"),
    ]
}

fn bound_row(bound: &crate::scorecard::Bound) -> BoundRow {
    let (class, verdict) = match bound.holds {
        Some(true) => ("good", "holds"),
        Some(false) => ("bad", "broken"),
        None => ("open", "reported only"),
    };
    BoundRow {
        name: bound.name.clone(),
        value: bound.value.to_string(),
        allowed: bound.allowed(),
        class,
        verdict,
    }
}

#[cfg(test)]
#[path = "report/report_tests.rs"]
mod tests;
