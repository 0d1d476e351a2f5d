//! The metrics of control, in the default registry.

use banyan_core::protocol::migration::{HandoverOutcome, HandoverReport, MigrationStatus};
use prometheus::{
    Gauge, GaugeVec, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, register_gauge_vec,
    register_histogram_vec, register_int_counter_vec, register_int_gauge, register_int_gauge_vec,
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

/// Buckets by their owner: `monolith` or `service`.
static OWNED: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!(
        "banyan_control_buckets",
        "Buckets by the side that owns them",
        &["capability", "side"]
    )
    .expect(ONCE)
});

/// The wanted share at the service.
static WANTED: LazyLock<GaugeVec> = LazyLock::new(|| {
    register_gauge_vec!(
        "banyan_control_wanted_ratio",
        "The share of buckets that is wanted at the service, 0 to 1",
        &["capability"]
    )
    .expect(ONCE)
});

/// Wanted buckets that could not be moved yet.
static STRAGGLERS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!(
        "banyan_control_stragglers",
        "Wanted buckets that could not be moved yet and are tried again",
        &["capability"]
    )
    .expect(ONCE)
});

/// 1 where a person has paused handovers.
static PAUSED: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!("banyan_control_paused", "1 while handovers are paused", &["capability"])
        .expect(ONCE)
});

/// When the running handover began.
static STARTED: LazyLock<GaugeVec> = LazyLock::new(|| {
    register_gauge_vec!(
        "banyan_control_handover_started_seconds",
        "When the running handover began, in seconds since 1970; 0 where none runs",
        &["capability"]
    )
    .expect(ONCE)
});

/// The team of each capability, to be joined to alerts.
static INFO: LazyLock<GaugeVec> = LazyLock::new(|| {
    register_gauge_vec!(
        "banyan_control_capability_info",
        "1; says which team owns a capability",
        &["capability", "owner"]
    )
    .expect(ONCE)
});

/// Where a migration stands.
pub fn stands(status: &MigrationStatus) {
    let name = status.capability.as_str();
    let at_service = status.service_buckets.len() as i64;
    OWNED.with_label_values(&[name, "service"]).set(at_service);
    OWNED.with_label_values(&[name, "monolith"]).set(i64::from(banyan_core::BUCKETS) - at_service);
    WANTED.with_label_values(&[name]).set(status.wanted_percent / 100.0);
    STRAGGLERS.with_label_values(&[name]).set(status.stragglers.len() as i64);
    PAUSED.with_label_values(&[name]).set(i64::from(status.paused));
    let running = status.handover.as_ref().filter(|h| h.outcome == HandoverOutcome::Running);
    let started: Gauge = STARTED.with_label_values(&[name]);
    started.set(running.map_or(0.0, |handover| handover.started_ms as f64 / 1000.0));
    INFO.with_label_values(&[name, status.owner.as_str()]).set(1.0);
}

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
