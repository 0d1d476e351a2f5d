//! One click of a customer, from the browser to the mail, over real Laravel, MariaDB and SMTP; and the metrics
//! of every role that has taken part.

use banyan_testkit::{Part, require};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::{Command, Output};

use crate::{deploy, root};

/// `banyan` is another package's binary: cargo does not build it for this test.
fn build_banyan() {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--workspace", "--bins", "--locked", "--quiet"])
        .current_dir(root())
        .status()
        .unwrap();
    assert!(built.success(), "banyan cannot be built");
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[test]
fn a_click_is_one_trace_from_the_browser_to_the_mail() {
    let (Some(()), Some(())) = (require(Part::Monolith), require(Part::Smtp)) else { return };
    build_banyan();
    let folder = tempfile::tempdir().unwrap();
    let (spans, metrics) = (folder.path().join("spans.json"), folder.path().join("metrics.txt"));
    let output = Command::new(env!("CARGO_BIN_EXE_rehearsal"))
        .arg("trace")
        .arg("--json")
        .arg(&spans)
        .arg("--metrics")
        .arg(&metrics)
        .env("BANYAN_LOG", "info,banyan_notify=debug")
        .output()
        .unwrap();
    // The exit status says that each tree is the one that it should be.
    assert!(output.status.success(), "{}", text(&output));

    let traces: Value = serde_json::from_slice(&std::fs::read(spans).unwrap()).unwrap();
    let traces = traces.as_array().unwrap();
    assert_eq!(traces.len(), 2);
    for trace in traces {
        let spans = trace.as_array().unwrap();
        let of =
            |key: &str| spans.iter().map(|s| s[key].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>();
        assert_eq!((of("trace_id").len(), of("span_id").len()), (1, spans.len()), "{trace:#}");
        let unknown: Vec<_> = of("parent_id").difference(&of("span_id")).cloned().collect();
        assert_eq!(unknown, [""], "only the browser's span has no parent: {trace:#}");
        let backwards =
            spans.iter().find(|s| s["end_ns"].as_u64().unwrap() < s["start_ns"].as_u64().unwrap());
        assert_eq!(backwards, None);
    }
    let said = text(&output);
    // The access log's line, and that of the mail.
    let has_both = |line: &&str| line.contains("notify ") && line.contains("gateway ");
    let logged = said.lines().filter(|line| line.starts_with("log lines with its id:")).filter(has_both);
    assert_eq!(logged.count(), 2, "{said}");

    let scraped = std::fs::read_to_string(metrics).unwrap();
    let missing: Vec<String> =
        deploy::metrics_used().into_iter().filter(|name| !deploy::is_scraped(&scraped, name)).collect();
    assert!(missing.is_empty(), "dashboard or alerts use what no role tells: {missing:?}");
}
