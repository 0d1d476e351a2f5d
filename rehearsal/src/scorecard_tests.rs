use super::*;
use serde_json::Value;
use std::time::Duration;

fn schedule() -> Schedule {
    Schedule {
        before: Duration::ZERO,
        through_gateway: Duration::ZERO,
        rounds: 4,
        step: Duration::ZERO,
        outage: Some(Duration::from_secs(30)),
        after: Duration::ZERO,
        requests_min: 5000,
        writes_min: 500,
        handovers_min: 20,
        times: Times::Judged,
    }
}

fn good() -> Scorecard {
    Scorecard {
        requests: 5000,
        failed_by_provider: 3,
        writes_acknowledged: 500,
        handovers: 20,
        hold_ms: Spread { p50: 10.0, p99: 150.0, max: 200.0 },
        drained_write_ms_max: 60.0,
        rollback_ms: Middle { p50: 300.0, max: 1900.0 },
        rollbacks_ms: vec![300.0, 1900.0],
        verify: Verified { rows_compared: 9, mismatches: 0 },
        outage: Some(Outage {
            stragglers: vec!["7".into()],
            buckets_moved: 4092,
            followed_ms: Some(80.0),
            ..Outage::default()
        }),
        ..Scorecard::default()
    }
}

fn check(change: impl FnOnce(&mut Scorecard)) -> String {
    let mut card = good();
    change(&mut card);
    card.judge(&schedule());
    assert_eq!(card.passed, card.broken.is_empty());
    assert_eq!(card.verdict().starts_with('0'), card.passed);
    card.broken.join("; ")
}

#[test]
fn every_bound_can_be_broken_and_is_named() {
    assert_eq!(check(|_| {}), "");
    assert_eq!(check(|c| c.failed = 1), "failed is 1, allowed is at most 0");
    assert!(check(|c| c.writes_lost = 1).contains("writes_lost"));
    assert!(check(|c| c.writes_doubled = 1).contains("writes_doubled"));
    assert!(check(|c| c.mails_doubled = 1).contains("mails_doubled"));
    assert!(check(|c| c.mails.missing = 1).contains("mails.missing"));
    assert!(check(|c| c.verify.mismatches = 1).contains("mismatches"));
    assert!(check(|c| c.verify.rows_compared = 0).contains("rows_compared"));
    assert!(check(|c| c.audit.contradictions = 1).contains("contradictions"));
    assert_eq!(check(|c| c.hold_ms.p99 = 161.0), "hold_ms.p99 is 161, allowed is at most 160");
    assert!(check(|c| c.rollback_ms.max = 2001.0).contains("rollback_ms.max"));
    assert!(check(|c| c.rollbacks_ms.clear()).contains("rollbacks_ms"));
    assert_eq!(check(|c| c.requests = 4999), "requests is 4999, wanted are at least 5000");
    assert!(check(|c| c.writes_acknowledged = 499).contains("writes_acknowledged"));
    assert!(check(|c| c.handovers = 19).contains("handovers"));
    assert!(check(|c| c.failed_by_provider = 0).contains("failed_by_provider"));
    let outage = |c: &mut Scorecard| c.outage.clone().unwrap_or_default();
    assert!(check(|c| c.outage = Some(Outage { followed_ms: None, ..outage(c) })).contains("followed"));
    assert!(check(|c| c.outage = Some(Outage { stragglers: vec![], ..outage(c) })).contains("stragglers"));
    assert_eq!(check(|c| c.problems.push("it rained".into())), "it rained");
}

#[test]
fn times_that_are_only_reported_break_no_bound() {
    let mut card = good();
    card.hold_ms.p99 = 161.0;
    card.rollback_ms.max = 2001.0;
    let reported = Schedule { times: Times::Reported, ..schedule() };
    card.judge(&reported);
    assert_eq!(card.broken, Vec::<String>::new());
    card.failed = 1;
    card.judge(&reported);
    assert_eq!(card.broken.len(), 1, "everything else is judged all the same");
}

#[test]
fn the_json_has_the_fields_that_are_promised() {
    let card = serde_json::to_value(good()).unwrap();
    for path in [
        "requests",
        "failed",
        "writes_acknowledged",
        "writes_lost",
        "writes_doubled",
        "mails_doubled",
        "handovers",
        "handovers_aborted",
        "buckets_moved",
        "hold_ms/p50",
        "hold_ms/p99",
        "hold_ms/max",
        "drained_write_ms_max",
        "rollback_ms/p50",
        "rollback_ms/max",
        "lag_ms/p50",
        "lag_ms/p99",
        "latency_ms/before/mean",
        "latency_ms/through_gateway/p50",
        "latency_ms/after/p99",
        "cpu_ms_per_request/before",
        "cpu_ms_per_request/after",
        "verify/rows_compared",
        "verify/mismatches",
        "seconds",
        "seed",
        "failed_by_provider",
    ] {
        assert!(card.pointer(&format!("/{path}")).is_some_and(Value::is_number), "{path}");
    }
}

#[test]
fn the_median_of_an_even_number_lies_between() {
    assert_eq!((median(&[]), median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0, 2.0, 3.0])), (0.0, 2.0, 2.5));
}
