//! The metrics of sync, in the default registry.

use prometheus::{
    Histogram, HistogramVec, IntCounterVec, register_histogram, register_histogram_vec,
    register_int_counter_vec,
};
use std::sync::LazyLock;

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

/// Rows that reverse wrote into the monolith.
pub static REVERSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!("banyan_sync_reversed_rows_total", "Rows written to the monolith", &["kind"])
        .expect(ONCE)
});
