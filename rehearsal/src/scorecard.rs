//! The scorecard: what was measured, and whether it holds the bounds.

use banyan_core::protocol::migration::Quantiles;
use serde::Serialize;
use std::collections::BTreeMap;

use crate::audit::AuditReport;
use crate::audit::mails::MailReport;
use crate::load::record::Failure;
use crate::options::{Schedule, Times};

/// A hold may last this much longer than the slowest write that it had to wait for.
const HOLD_OVER_DRAIN_MS: f64 = 100.0;
/// A rollback of the whole cohort, from the command to the last bucket back.
const ROLLBACK_MS_MAX: f64 = 2000.0;

/// The median, the 99th percentile and the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

/// The median and the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Middle {
    /// The median.
    pub p50: f64,
    /// The largest.
    pub max: f64,
}

/// The median and the 99th percentile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Tail {
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
}

/// Latency of a phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
}

/// Latency of requests, from when they were due to the end of the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latencies {
    /// The monolith alone.
    pub before: Latency,
    /// Through the gateway, everything at the monolith.
    pub through_gateway: Latency,
    /// Through the gateway, notifications at the service.
    pub after: Latency,
}

/// CPU time of all processes of the system, databases included, by request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cpu {
    /// The monolith alone.
    pub before: f64,
    /// Through the gateway, everything at the monolith.
    pub through_gateway: f64,
    /// Through the gateway, notifications at the service.
    pub after: f64,
}

/// The comparison of all rows at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Verified {
    /// Rows compared.
    pub rows_compared: u64,
    /// Rows that differ.
    pub mismatches: u64,
}

/// What happened while the payment provider hung.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Outage {
    /// How long it hung.
    pub seconds: f64,
    /// Handovers that finished meanwhile.
    pub handovers: u64,
    /// Buckets that moved meanwhile.
    pub buckets_moved: u64,
    /// Buckets that could not move because a hanging payment held them.
    pub stragglers: Vec<String>,
    /// Why, as control named it.
    pub waiting_for: Vec<String>,
    /// Milliseconds after the end of the outage until the last of them had followed.
    pub followed_ms: Option<f64>,
}

/// All that was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Scorecard {
    /// Requests.
    pub requests: u64,
    /// Those that failed, and not for the provider.
    pub failed: u64,
    /// Payments that failed because the provider was out.
    pub failed_by_provider: u64,
    /// Writes that customers were told are done.
    pub writes_acknowledged: u64,
    /// Of those, missing on a side, or without effect.
    pub writes_lost: u64,
    /// Writes that are there more than once.
    pub writes_doubled: u64,
    /// Mails beyond the first of a notification.
    pub mails_doubled: u64,
    /// Handovers that finished.
    pub handovers: u64,
    /// Handovers that were undone.
    pub handovers_aborted: u64,
    /// Buckets that changed their owner, summed over all handovers.
    pub buckets_moved: u64,
    /// How long requests were held.
    pub hold_ms: Spread,
    /// The slowest write that a hold had to wait for.
    pub drained_write_ms_max: f64,
    /// Rollback of the whole cohort.
    pub rollback_ms: Middle,
    /// From a commit on one side to its commit on the other.
    pub lag_ms: Tail,
    /// Latency of requests.
    pub latency_ms: Latencies,
    /// CPU time by request.
    pub cpu_ms_per_request: Cpu,
    /// Comparison of all rows.
    pub verify: Verified,
    /// The whole run.
    pub seconds: f64,
    /// The seed.
    pub seed: u64,
    /// Requests that were held.
    pub held: u64,
    /// From freeze to release, by handover.
    pub handover_hold_ms: Spread,
    /// How long each rollback of the whole cohort took.
    pub rollbacks_ms: Vec<f64>,
    /// The outage.
    pub outage: Option<Outage>,
    /// The audit of the writes.
    pub audit: AuditReport,
    /// The audit of the mails.
    pub mails: MailReport,
    /// The most due requests that ever waited because every customer was busy.
    pub waiting_max: u64,
    /// Latency by kind of request, over the whole run.
    pub latency_by_request_ms: BTreeMap<String, Latency>,
    /// The first failures.
    pub failures: Vec<Failure>,
    /// What else went wrong.
    pub problems: Vec<String>,
    /// Whether every bound holds.
    pub passed: bool,
    /// The bounds that are broken.
    pub broken: Vec<String>,
}

impl From<Quantiles> for Latency {
    fn from(q: Quantiles) -> Self {
        Self { mean: tenths(q.mean), p50: tenths(q.p50), p99: tenths(q.p99) }
    }
}

impl From<Quantiles> for Spread {
    fn from(q: Quantiles) -> Self {
        Self { p50: tenths(q.p50), p99: tenths(q.p99), max: tenths(q.max) }
    }
}

/// Rounded to a tenth: the figures are not more exact than that.
pub fn tenths(ms: f64) -> f64 {
    (ms * 10.0).round() / 10.0
}

/// The median of a list.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

fn row(name: &str, text: String) -> String {
    format!("  {name:<26}{text}")
}

impl Scorecard {
    /// Compares with the bounds; fills `passed` and `broken`.
    pub fn judge(&mut self, schedule: &Schedule) {
        let mut broken = Vec::new();
        let mut at_most = |name: &str, value: f64, bound: f64| {
            if value > bound {
                broken.push(format!("{name} is {value}, allowed is at most {bound}"));
            }
        };
        for (name, value) in [
            ("failed", self.failed),
            ("writes_lost", self.writes_lost),
            ("writes_doubled", self.writes_doubled),
            ("mails_doubled", self.mails_doubled),
            ("verify.mismatches", self.verify.mismatches),
            ("audit.contradictions", self.audit.contradictions),
            ("mails.missing", self.mails.missing),
            ("mails.unexplained", self.mails.unexplained),
            ("mails.unsent", self.mails.unsent),
        ] {
            at_most(name, value as f64, 0.0);
        }
        if schedule.times == Times::Judged {
            at_most("hold_ms.p99", self.hold_ms.p99, self.drained_write_ms_max + HOLD_OVER_DRAIN_MS);
            at_most("rollback_ms.max", self.rollback_ms.max, ROLLBACK_MS_MAX);
        }
        let mut at_least = |name: &str, value: u64, bound: u64| {
            if value < bound {
                broken.push(format!("{name} is {value}, wanted are at least {bound}"));
            }
        };
        at_least("requests", self.requests, schedule.requests_min);
        at_least("writes_acknowledged", self.writes_acknowledged, schedule.writes_min);
        at_least("handovers", self.handovers, schedule.handovers_min);
        at_least("verify.rows_compared", self.verify.rows_compared, 1);
        at_least("rollbacks_ms", self.rollbacks_ms.len() as u64, 1);
        if let Some(outage) = &self.outage {
            at_least("outage.stragglers", outage.stragglers.len() as u64, 1);
            at_least("outage.buckets_moved", outage.buckets_moved, 1);
            at_least("outage.followed", u64::from(outage.followed_ms.is_some()), 1);
            at_least("failed_by_provider", self.failed_by_provider, 1);
        }
        broken.extend(self.problems.iter().cloned());
        self.passed = broken.is_empty();
        self.broken = broken;
    }

    /// The table for people.
    pub fn lines(&self) -> Vec<String> {
        [self.lines_of_requests(), self.lines_of_moves(), self.lines_of_figures()].concat()
    }

    fn lines_of_requests(&self) -> Vec<String> {
        vec![
            row("requests", format!("{} in {:.0} s, seed {}", self.requests, self.seconds, self.seed)),
            row(
                "failed",
                format!("{}, and {} payments by the provider's outage", self.failed, self.failed_by_provider),
            ),
            row("writes acknowledged", self.writes_acknowledged.to_string()),
            row("writes lost", self.writes_lost.to_string()),
            row("writes doubled", self.writes_doubled.to_string()),
            row(
                "writes without answer",
                format!(
                    "{}, of which {} took effect",
                    self.audit.unacknowledged, self.audit.unacknowledged_found
                ),
            ),
            row(
                "mails",
                format!(
                    "{}, {} doubled, {} missing",
                    self.mails.arrived, self.mails.doubled, self.mails.missing
                ),
            ),
        ]
    }

    fn lines_of_moves(&self) -> Vec<String> {
        vec![
            row(
                "handovers",
                format!(
                    "{} finished, {} undone, {} buckets moved",
                    self.handovers, self.handovers_aborted, self.buckets_moved
                ),
            ),
            row(
                "hold of a request",
                format!(
                    "p50 {:.0}   p99 {:.0}   max {:.0} ms, {} requests held",
                    self.hold_ms.p50, self.hold_ms.p99, self.hold_ms.max, self.held
                ),
            ),
            row("slowest drained write", format!("{:.0} ms", self.drained_write_ms_max)),
            row(
                "rollback, whole cohort",
                format!("p50 {:.0}   max {:.0} ms", self.rollback_ms.p50, self.rollback_ms.max),
            ),
            row("lag of the streams", format!("p50 {:.0}   p99 {:.0} ms", self.lag_ms.p50, self.lag_ms.p99)),
        ]
    }

    fn lines_of_figures(&self) -> Vec<String> {
        let tail = |l: &Latency| format!("mean {:>7.1}   p50 {:>7.1}   p99 {:>7.1} ms", l.mean, l.p50, l.p99);
        let mut lines = vec![
            row("latency before", tail(&self.latency_ms.before)),
            row("        through gateway", tail(&self.latency_ms.through_gateway)),
            row("        after", tail(&self.latency_ms.after)),
            row(
                "CPU per request",
                format!(
                    "{:.1} ms before, {:.1} through gateway, {:.1} after",
                    self.cpu_ms_per_request.before,
                    self.cpu_ms_per_request.through_gateway,
                    self.cpu_ms_per_request.after
                ),
            ),
            row(
                "verify",
                format!("{} rows compared, {} differ", self.verify.rows_compared, self.verify.mismatches),
            ),
        ];
        if let Some(outage) = &self.outage {
            let followed = outage
                .followed_ms
                .map_or("never followed".into(), |ms| format!("followed {ms:.0} ms after it"));
            lines.push(row(
                "provider's outage",
                format!(
                    "{:.0} s: {} buckets moved, {} straggled ({}) and {followed}",
                    outage.seconds,
                    outage.buckets_moved,
                    outage.stragglers.len(),
                    outage.stragglers.join(", "),
                ),
            ));
        }
        lines
    }

    /// The last line.
    pub fn verdict(&self) -> String {
        if self.passed {
            "0 failed requests, 0 writes lost, 0 written twice".into()
        } else {
            format!(
                "NOT PASSED: {} failed requests, {} writes lost, {} written twice; {} bounds broken",
                self.failed,
                self.writes_lost,
                self.writes_doubled,
                self.broken.len()
            )
        }
    }
}

#[cfg(test)]
#[path = "scorecard_tests.rs"]
mod tests;
