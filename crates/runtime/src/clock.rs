//! The ambient clocks. Everything else receives time as an argument.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Wall-clock time in milliseconds since 1970; may step.
#[expect(clippy::disallowed_methods, reason = "this module is where the ambient clock lives")]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Wall-clock time in nanoseconds since 1970; may step.
#[expect(clippy::disallowed_methods, reason = "this module is where the ambient clock lives")]
pub fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// A monotonic instant, for measuring durations within one process.
#[expect(clippy::disallowed_methods, reason = "this module is where the ambient clock lives")]
pub fn instant() -> Instant {
    Instant::now()
}

/// Time since boot, counting suspension too (`CLOCK_BOOTTIME`, clock_gettime(2)). For leases: a machine
/// that slept wakes up with its leases expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Boot(Duration);

impl Boot {
    /// Now.
    pub fn now() -> Self {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Self(Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0)))
    }

    /// The instant that many milliseconds after boot; for tests and simulations.
    pub fn from_ms(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// The time that has passed since this instant; zero where it lies in the future.
    pub fn elapsed(self) -> Duration {
        Self::now().since(self)
    }

    /// The time from an earlier instant to this one; zero where it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// This instant and a duration.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}
