//! The dashboard and the alerts: they are understood by Prometheus, and each alert leads somewhere.

use banyan_testkit::{Part, require};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::root;

const DASHBOARD: &str = "deploy/grafana/migration.json";
const ALERTS: &str = "deploy/prometheus/alerts.yaml";
const ALERTS_TEST: &str = "deploy/prometheus/alerts_test.yaml";
/// What the metrics of Banyan begin with.
const PREFIXES: [&str; 2] = ["banyan_", "http_server_"];
/// What a histogram's series end with.
const SUFFIXES: [&str; 3] = ["_bucket", "_count", "_sum"];

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

fn dashboard() -> Value {
    serde_json::from_str(&read(DASHBOARD)).unwrap()
}

/// The queries of the dashboard, with Grafana's variables filled in.
fn queries() -> Vec<String> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let query = |target: Value| target["expr"].as_str().unwrap().to_owned();
    let filled = |query: String| query.replace("$__rate_interval", "5m").replace("$capability", ".*");
    let queries: Vec<String> = targets.map(query).map(filled).collect();
    assert!(queries.len() > 15 && queries.iter().all(|query| !query.contains('$')), "{queries:?}");
    queries
}

/// The alerts, without comments.
fn alerts() -> String {
    read(ALERTS)
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .map(|l| format!("{l}\n"))
        .collect()
}

/// Values of a key in lines such as `- key: value`.
fn values<'t>(text: &'t str, key: &'t str) -> impl Iterator<Item = &'t str> {
    let value = move |line: &'t str| line.trim_start().trim_start_matches("- ").strip_prefix(key);
    text.lines().filter_map(value).map(|value| value.trim())
}

/// The metrics that the dashboard and the alerts ask for.
pub fn metrics_used() -> BTreeSet<String> {
    let asked = queries().join("\n") + &alerts();
    let words = asked.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix))).map(str::to_owned).collect()
}

/// Whether a scrape has series of this name.
pub fn is_scraped(scraped: &str, name: &str) -> bool {
    scraped.lines().any(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
    })
}

#[test]
fn the_names_of_series_are_told_apart() {
    assert!(is_scraped("a_b{c=\"d\"} 1\n", "a_b") && is_scraped("# HELP a_b x\na_b 1\n", "a_b"));
    assert!(!is_scraped("# HELP a_b x\na_b_count 1\n", "a_b"));
    let used = metrics_used();
    assert!(used.len() > 20 && used.contains("http_server_request_duration_seconds_count"), "{used:?}");
}

#[test]
fn every_alert_has_an_owner_a_runbook_a_panel_and_a_test() {
    let (alerts, tests) = (alerts(), read(ALERTS_TEST));
    let names: Vec<&str> = values(&alerts, "alert:").collect();
    assert_eq!(names.len(), 3);
    for name in &names {
        let is_tested = |(index, tested): (usize, &str)| (tested == *name).then_some(index);
        assert!(
            values(&tests, "alertname:").enumerate().any(|t| is_tested(t).is_some()),
            "{name} has no test"
        );
    }
    for rule in alerts.split("- alert:").skip(1) {
        let owned = values(rule, "owner:").next().is_some() || rule.contains("group_left (owner)");
        assert!(owned && values(rule, "severity:").count() == 1, "{rule}");
        let name = rule.lines().next().unwrap().trim();
        let runbook = read(values(rule, "runbook_url:").next().unwrap());
        assert!(runbook.starts_with(&format!("# {name}\n")), "{name}");
        for part in
            ["**Meaning.**", "**Impact.**", "## Diagnosis", "## Mitigation", "**Stop if**", "**Escalate**"]
        {
            assert!(runbook.contains(part), "the runbook of {name} has no {part}");
        }
        let link = values(rule, "dashboard_url:").next().unwrap();
        let (path, panel) = link.split_once("?viewPanel=").unwrap();
        let dashboard = dashboard();
        assert!(path.starts_with(&format!("/d/{}/", dashboard["uid"].as_str().unwrap())), "{link}");
        let panels = dashboard["panels"].as_array().unwrap();
        let found =
            panels.iter().find(|p| p["id"].as_u64() == panel.parse().ok()).expect("the panel is there");
        // The panel shows what the alert looks at.
        let asked = found["targets"].to_string();
        assert!(
            metrics_used().iter().any(|m| rule.contains(m.as_str()) && asked.contains(m.as_str())),
            "{link}"
        );
    }
}

#[test]
fn prometheus_understands_the_alerts_and_every_query_of_the_dashboard() {
    let Some(()) = require(Part::Promtool) else { return };
    let folder = tempfile::tempdir().unwrap();
    let recorded = folder.path().join("queries.yaml");
    let rule = |(index, query): (usize, &String)| {
        format!("      - record: panel:query:{index}\n        expr: {}\n", Value::from(query.as_str()))
    };
    let rules: String = queries().iter().enumerate().map(rule).collect();
    fs::write(&recorded, format!("groups:\n  - name: dashboard\n    rules:\n{rules}")).unwrap();
    let promtool = |arguments: &[&str]| {
        let output = Command::new("promtool").args(arguments).current_dir(root()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "promtool {arguments:?}: {}", String::from_utf8_lossy(&said));
    };
    promtool(&["check", "rules", ALERTS, recorded.to_str().unwrap()]);
    promtool(&["test", "rules", ALERTS_TEST]);
}

#[test]
fn a_histogram_is_asked_for_by_its_series() {
    let used = metrics_used();
    for name in used.iter().filter(|name| name.ends_with("_seconds")) {
        let histogram = SUFFIXES.iter().any(|suffix| used.contains(&format!("{name}{suffix}")));
        assert!(!histogram, "{name} is a histogram: it has no series of its own");
    }
}
