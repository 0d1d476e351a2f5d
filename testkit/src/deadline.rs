//! Waiting for a condition, with a deadline.

use anyhow::bail;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(10);

/// Waits until the condition yields a value.
///
/// # Errors
/// The condition's own failure, or the time is over; then the message says what was waited for.
pub(crate) fn wait_for<T>(
    what: &str,
    patience: Duration,
    mut condition: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let start = now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if start.elapsed() > patience {
            bail!("{what}: not within {} s", patience.as_secs());
        }
        std::thread::sleep(POLL);
    }
}

#[expect(clippy::disallowed_methods, reason = "real servers start in real time")]
fn now() -> Instant {
    Instant::now()
}
