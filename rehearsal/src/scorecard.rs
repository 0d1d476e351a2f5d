//! The scorecard: what was measured, and whether it holds the bounds.

mod bounds;
mod proof;
mod table;

use banyan_core::protocol::migration::Quantiles;
use serde::Serialize;
use std::collections::BTreeMap;

use crate::audit::AuditReport;
use crate::audit::mails::MailReport;
use crate::load::record::Failure;
pub use bounds::Bound;
pub use proof::{Recovery, RouteFigures, Spike, SuccessRate};
pub use table::spike_in_words;

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
    /// Requests that failed while a role was down that a person at the keyboard had killed.
    pub failed_while_down: u64,
    /// Requests that the gateway shed during the spike.
    pub shed: u64,
    /// The share of requests that were answered as they should be; those that failed by the provider, while
    /// a killed role was down, or were shed are neither counted as good nor as bad.
    pub success_rate: SuccessRate,
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
    /// CPU time by request that was answered as it should be.
    pub cpu_ms_per_acknowledged_operation: Cpu,
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
    /// The spike.
    pub spike: Option<Spike>,
    /// What was killed, and how it came back.
    pub recoveries: Vec<Recovery>,
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
    /// The bounds, and whether each holds.
    pub bounds: Vec<Bound>,
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

#[cfg(test)]
#[path = "scorecard_tests.rs"]
mod tests;
