//! The metrics of auth, in the default registry.

use prometheus::{HistogramVec, IntCounterVec, register_histogram_vec, register_int_counter_vec};
use std::sync::LazyLock;

const ONCE: &str = "a metric of a unique name is registered once";

/// `POST /v1/identity` by what became of it.
pub static IDENTITIES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "banyan_auth_identity_requests_total",
        "Identity requests by outcome",
        &["outcome"]
    )
    .expect(ONCE)
});

/// CSRF checks: `valid` or `invalid`.
pub static CSRF_CHECKS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!("banyan_auth_csrf_checks_total", "CSRF checks by outcome", &["outcome"])
        .expect(ONCE)
});

/// Touches of sessions: `touched`, `failed`, or `dropped` because too many were waiting.
pub static TOUCHES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "banyan_auth_session_touches_total",
        "Extensions of sliding expiry by outcome",
        &["outcome"]
    )
    .expect(ONCE)
});

/// `POST /v1/lookup` by what became of it.
pub static LOOKUPS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!("banyan_auth_lookup_requests_total", "Lookups by outcome", &["outcome"])
        .expect(ONCE)
});

/// Time of statements on the monolith's database, waiting for a connection included.
pub static DATABASE_SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    register_histogram_vec!(
        "banyan_auth_database_seconds",
        "Time of statements on the monolith's database, waiting for a connection included",
        &["statement"],
        vec![0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0]
    )
    .expect(ONCE)
});
