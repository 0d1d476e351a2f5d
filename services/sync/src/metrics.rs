//! The metrics of sync, in the default registry.

use crate::capture::Capture;
use prometheus::{
    GaugeVec, Histogram, HistogramVec, IntCounterVec, IntGaugeVec, register_gauge_vec, register_histogram,
    register_histogram_vec, register_int_counter_vec, register_int_gauge_vec,
};
use std::sync::LazyLock;
use std::sync::atomic::Ordering;

const ONCE: &str = "a metric of a unique name is registered once";
const SECONDS: [f64; 11] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// The monolith's changes by what the service did with them: `applied`, `imported` or `dead_letter`.
pub static CHANGES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!("banyan_sync_changes_total", "Changes of the monolith by outcome", &["outcome"])
        .expect(ONCE)
});

/// Time of a batch from its first byte to the service's commit.
pub static BATCHES: LazyLock<Histogram> = LazyLock::new(|| {
    register_histogram!(
        "banyan_sync_batch_seconds",
        "Time until the service has committed a batch",
        SECONDS.to_vec()
    )
    .expect(ONCE)
});

/// Lag of both streams by direction.
pub static LAG_SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    register_histogram_vec!(
        "banyan_sync_lag_seconds",
        "Time from a commit on one side to its commit on the other",
        &["direction"],
        SECONDS.to_vec()
    )
    .expect(ONCE)
});

/// How late both streams are now.
static STREAM_LAG: LazyLock<GaugeVec> = LazyLock::new(|| {
    register_gauge_vec!(
        "banyan_sync_stream_lag_seconds",
        "How late a stream is: the newest lag, or the age of what has not arrived where that is more",
        &["capability", "direction"]
    )
    .expect(ONCE)
});

/// 1 where a stream is connected.
static STREAM_LIVE: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!(
        "banyan_sync_stream_live",
        "1 while a stream is connected",
        &["capability", "direction"]
    )
    .expect(ONCE)
});

/// The service's outbox as far as the monolith holds it.
static OUTBOX_POSITION: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!(
        "banyan_sync_outbox_position",
        "The outbox position of the service that the monolith holds",
        &["capability"]
    )
    .expect(ONCE)
});

/// The outcomes of changes.
const OUTCOMES: [&str; 3] = ["applied", "imported", "dead_letter"];

/// Shows the counters of changes before there is one.
pub fn begin() {
    for outcome in OUTCOMES {
        CHANGES.with_label_values(&[outcome]);
    }
}

/// Notes how the streams of a capability are.
pub fn streams(capture: &Capture) {
    let (name, reverse) = (capture.capability.name.as_str(), &capture.reverse);
    let reverse_ms = reverse.lag_ms.load(Ordering::Relaxed);
    for (direction, lag_ms, live) in [
        ("forward", capture.beats.lag_ms(), capture.forward_live.load(Ordering::Relaxed)),
        ("reverse", reverse_ms, reverse.live.load(Ordering::Relaxed)),
    ] {
        STREAM_LAG.with_label_values(&[name, direction]).set(lag_ms as f64 / 1000.0);
        STREAM_LIVE.with_label_values(&[name, direction]).set(i64::from(live));
    }
    let position = reverse.position.borrow().position;
    OUTBOX_POSITION.with_label_values(&[name]).set(i64::try_from(position).unwrap_or(i64::MAX));
}

/// Rows that reverse wrote into the monolith.
pub static REVERSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!("banyan_sync_reversed_rows_total", "Rows written to the monolith", &["kind"])
        .expect(ONCE)
});
