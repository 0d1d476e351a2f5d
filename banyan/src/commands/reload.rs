//! `banyan reload`: has a running process read its configuration again.

use crate::reload::{PATH, Report};
use banyan_runtime::client::RoleClient;
use std::collections::BTreeSet;
use std::process::ExitCode;

use super::output::print_json;

/// Asks the role's process and prints what it did; fails where it refused the file.
pub async fn run(role: RoleClient, json: bool) -> anyhow::Result<ExitCode> {
    let report: Report = role.post(PATH, &()).await?;
    if json {
        print_json(&report)?;
    } else {
        lines(&report).iter().for_each(|line| println!("{line}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(report: &Report) -> Vec<String> {
    let line = |what: &str, keys: &BTreeSet<String>| {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        (!keys.is_empty()).then(|| format!("{what}: {}", keys.join(", ")))
    };
    let lines: Vec<String> = [
        line("in force now", &report.applied),
        line("needs an upgrade or a restart", &report.pending),
        line("of other processes, which need a restart", &report.elsewhere),
    ]
    .into_iter()
    .flatten()
    .collect();
    if lines.is_empty() { vec!["nothing has changed".into()] } else { lines }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_unsaid() {
        let keys = |keys: &[&str]| keys.iter().map(|k| (*k).to_owned()).collect();
        assert_eq!(lines(&Report::default()), ["nothing has changed"]);
        let report = Report {
            applied: keys(&["log_filter"]),
            pending: keys(&["data_dir", "listen.gateway"]),
            elsewhere: keys(&["control.ack_ms_max"]),
        };
        assert_eq!(
            lines(&report),
            [
                "in force now: log_filter",
                "needs an upgrade or a restart: data_dir, listen.gateway",
                "of other processes, which need a restart: control.ack_ms_max",
            ]
        );
    }
}
