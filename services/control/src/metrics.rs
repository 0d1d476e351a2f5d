//! The metrics of control, in the default registry.

use banyan_core::protocol::migration::{HandoverOutcome, HandoverReport};
use prometheus::{
    HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, register_histogram_vec, register_int_counter_vec,
    register_int_gauge, register_int_gauge_vec,
};
use std::sync::LazyLock;

const ONCE: &str = "a metric of a unique name is registered once";
const SECONDS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];

/// Handovers that ended: `done` or `restored`.
static HANDOVERS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "banyan_control_handovers_total",
        "Handovers that ended, by outcome",
        &["capability", "outcome"]
    )
    .expect(ONCE)
});

/// Buckets that changed their owner.
static BUCKETS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "banyan_control_buckets_moved_total",
        "Buckets that changed their owner, by the new one",
        &["capability", "to"]
    )
    .expect(ONCE)
});

/// From freeze to release of the writes.
static HOLDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    register_histogram_vec!(
        "banyan_control_hold_seconds",
        "Time from freeze to release of the writes, by outcome",
        &["outcome"],
        SECONDS.to_vec()
    )
    .expect(ONCE)
});

/// The steps of handovers.
static STEPS: LazyLock<HistogramVec> = LazyLock::new(|| {
    register_histogram_vec!(
        "banyan_control_step_seconds",
        "Duration of the steps of handovers",
        &["step"],
        SECONDS.to_vec()
    )
    .expect(ONCE)
});

/// Holders of leases: `gateway` or `service`.
static LEASES: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!("banyan_control_leases", "Unexpired leases by kind of holder", &["kind"])
        .expect(ONCE)
});

/// The version of the ownership table.
static VERSION: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!("banyan_control_table_version", "Version of the ownership table").expect(ONCE)
});

/// A handover has ended.
pub fn ended(report: &HandoverReport) {
    let outcome = match report.outcome {
        HandoverOutcome::Running => return,
        HandoverOutcome::Done => "done",
        HandoverOutcome::Restored => "restored",
    };
    let seconds = |ms: u64| ms as f64 / 1000.0;
    HANDOVERS.with_label_values(&[report.capability.as_str(), outcome]).inc();
    HOLDS.with_label_values(&[outcome]).observe(seconds(report.hold_ms));
    if report.outcome == HandoverOutcome::Done {
        let moved = BUCKETS.with_label_values(&[report.capability.as_str(), report.to.as_str()]);
        moved.inc_by(report.buckets.len() as u64);
    }
    for (step, ms) in &report.steps {
        STEPS.with_label_values(&[step.as_str()]).observe(seconds(*ms));
    }
}

/// How many gateways and services hold a lease.
pub fn leases((gateways, services): (usize, usize)) {
    LEASES.with_label_values(&["gateway"]).set(gateways as i64);
    LEASES.with_label_values(&["service"]).set(services as i64);
}

/// The table has a new version.
pub fn version(version: u64) {
    VERSION.set(i64::try_from(version).unwrap_or(i64::MAX));
}
