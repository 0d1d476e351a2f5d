//! What else is seen of a trace and of the roles: log lines with its id, the metrics of every role.

use anyhow::Context as _;
use bytes::Bytes;
use hyper::Method;
use hyper::header::HeaderMap;
use std::fs;
use std::time::Duration;

use crate::installation::ROLES;
use crate::load::client::{HttpClient, Outgoing};
use crate::system::System;

/// How long a scrape may take.
const SCRAPE_MAX: Duration = Duration::from_secs(30);

/// How many lines of each role's log hold the id of a trace, such as `gateway 1, notify 2`.
///
/// # Errors
/// A log cannot be read.
pub fn log_lines(system: &System, trace_id: &str) -> anyhow::Result<String> {
    let mut found = Vec::new();
    for role in ROLES {
        let file = system.folder().join(format!("banyan-{role}.log"));
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let of_trace = |line: &&str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            line["trace_id"] == trace_id && line["span_id"].is_string()
        };
        let count = text.lines().filter(of_trace).count();
        if count > 0 {
            found.push(format!("{role} {count}"));
        }
    }
    Ok(if found.is_empty() { "none".into() } else { found.join(", ") })
}

/// `/metrics` of every role, one after the other.
///
/// # Errors
/// A role does not answer.
pub async fn scrape(system: &System) -> anyhow::Result<String> {
    let mut all = String::new();
    for (role, url) in system.banyan().context("Banyan was not started")?.metrics_urls() {
        let client = HttpClient::new(&url, SCRAPE_MAX);
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        let outgoing = Outgoing { method: Method::GET, path: "/metrics".into(), headers, body };
        let answer = client.send(outgoing).await.map_err(|broken| anyhow::anyhow!("{role}: {broken}"))?;
        anyhow::ensure!(answer.status.is_success(), "{role} answers {}", answer.status);
        all.push_str(&format!("# role {role}\n{}", answer.text()));
    }
    Ok(all)
}
