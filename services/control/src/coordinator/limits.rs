//! Bounds and patience of the coordinator.

use crate::config::Config;
use std::time::Duration;

/// The longest wait of one call for a mark, in milliseconds.
pub(super) const MARK_WAIT_MS_MAX: u64 = 1000;
/// How often gates that stand for nothing are released before the database's timeout is left to do it.
pub(super) const RELEASE_TRIES_MAX: u32 = 3;
/// How long a gateway may be behind before it is said that it is waited for.
pub(super) const READY_GRACE: Duration = Duration::from_millis(250);
/// From when on a cause that keeps a whole share from moving makes its buckets stragglers.
pub(super) const STRAGGLE_AFTER: Duration = Duration::from_secs(2);

/// How long a forced attempt waits for gateways: longer than they wait for a service that hangs.
pub(super) const FORCED_ACK_MAX: Duration = Duration::from_secs(15);
/// The pause before both sides are compared again for a service that is to be admitted.
pub(super) const ADMISSION_PAUSE: Duration = Duration::from_secs(5);

const CALL_BACKOFF_MIN: Duration = Duration::from_millis(50);
const CALL_BACKOFF_MAX: Duration = Duration::from_millis(500);

/// See [`Config`], whose options these are.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub buckets_max: usize,
    pub ack_max: Duration,
    pub drain_patience: Duration,
    pub drain_max: Duration,
    pub gates_patience_ms: u64,
    pub probe_patience_ms: u64,
    pub apply_max: Duration,
    pub lag_ms_max: u64,
    pub retry_min: Duration,
    pub probe_max: Duration,
    pub retry_max: Duration,
}

impl From<&Config> for Limits {
    fn from(config: &Config) -> Self {
        let ms = Duration::from_millis;
        Self {
            buckets_max: usize::from(config.buckets_max),
            ack_max: ms(config.ack_ms_max),
            drain_patience: ms(config.drain_patience_ms),
            drain_max: ms(config.drain_ms_max),
            gates_patience_ms: config.gates_patience_ms,
            probe_patience_ms: config.probe_patience_ms,
            apply_max: ms(config.apply_ms_max),
            lag_ms_max: config.lag_ms_max,
            retry_min: ms(config.retry_ms_min),
            probe_max: ms(config.probe_ms_max),
            retry_max: ms(config.retry_ms_max),
        }
    }
}

/// The pause after that many failures in a row of one call.
pub(super) fn call_backoff(failures: u32) -> Duration {
    backoff(CALL_BACKOFF_MIN, CALL_BACKOFF_MAX, failures)
}

/// A pause that doubles with each failure in a row, from `min` to `max`.
pub(super) fn backoff(min: Duration, max: Duration, failures: u32) -> Duration {
    min.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(max)
}
