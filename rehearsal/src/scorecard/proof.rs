//! Figures of the scorecard that prove something on their own: success, spike, recovery.

use serde::Serialize;

use banyan_runtime::quantiles::Samples;

use super::Latency;

/// The 97.5 % quantile of the normal distribution.
const Z_95: f64 = 1.959_963_985;

/// The share of requests that were answered as they should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct SuccessRate {
    /// What was seen.
    pub value: f64,
    /// With 95 % confidence the true share is not below: the exact bound (rule of three) where nothing failed,
    /// Wilson's (1927) where something did.
    pub lower_95: f64,
}

impl SuccessRate {
    /// The rate of `failed` failures among `all` requests; zero where there were none.
    pub fn of(all: u64, failed: u64) -> Self {
        if all == 0 {
            return Self::default();
        }
        let (n, z2) = (all as f64, Z_95 * Z_95);
        let value = (n - failed as f64) / n;
        let lower = if failed == 0 {
            0.05_f64.powf(1.0 / n)
        } else {
            let spread = Z_95 * (value * (1.0 - value) / n + z2 / (4.0 * n * n)).sqrt();
            (value + z2 / (2.0 * n) - spread) / (1.0 + z2 / n)
        };
        Self { value: millionths(value), lower_95: millionths(lower.max(0.0)) }
    }
}

fn millionths(share: f64) -> f64 {
    // Rounded down: a bound is never told better than it is.
    (share * 1e6).floor() / 1e6
}

/// What became of the requests of some routes during the spike.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RouteFigures {
    /// Answered as they should be.
    pub answered: u64,
    /// Refused by the gateway with 503 and `Retry-After`, since the monolith's bound was reached.
    pub shed: u64,
    /// Failed for any other reason.
    pub failed: u64,
    /// Latency of those that were answered, in milliseconds.
    pub latency_ms: Latency,
    #[serde(skip)]
    pub(crate) samples: Samples,
}

/// The spike; several of them together where a person at the keyboard wanted more.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Spike {
    /// Times the usual rate.
    pub factor: f64,
    /// Requests a second that were due.
    pub wanted_per_s: f64,
    /// How long they came at that rate.
    pub seconds: f64,
    /// How long it took from the beginning until the last of them was answered.
    pub until_answered_s: f64,
    /// Whether the service owned every bucket meanwhile.
    pub all_at_service: bool,
    /// Routes at the monolith.
    pub monolith: RouteFigures,
    /// Routes of the capability, answered by the service where it owns the customer's bucket.
    pub service: RouteFigures,
}

/// A fault that was made on purpose, and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Recovery {
    /// What was done, such as `kill -9 sync`.
    pub fault: String,
    /// Milliseconds until its supervisor saw it; here the rehearsal plays that part.
    pub detected_ms: f64,
    /// Milliseconds until everything answered again and both streams ran.
    pub recovered_ms: f64,
    /// Milliseconds until a handover that was asked for then had finished; `None` where none was.
    pub moved_ms: Option<f64>,
    /// Requests that failed from the fault to the recovery.
    pub failed: u64,
}

impl Recovery {
    /// What happened when.
    pub fn in_words(&self) -> String {
        let moved =
            self.moved_ms.map_or_else(String::new, |ms| format!(", buckets moved again after {ms:.0} ms"));
        format!(
            "{}: detected after {:.0} ms, recovered after {:.0} ms{moved}; {} requests failed",
            self.fault, self.detected_ms, self.recovered_ms, self.failed
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_bound_is_what_a_run_of_this_length_can_show() {
        let none = SuccessRate::of(10_000, 0);
        // The rule of three: 3 / n.
        assert!((1.0 - none.lower_95 - 3e-4).abs() < 2e-6, "{none:?}");
        assert_eq!((none.value, SuccessRate::of(0, 0).value), (1.0, 0.0));
        // Wilson's interval for 10 of 1000: 0.0054 to 0.0183.
        let some = SuccessRate::of(1000, 10);
        assert_eq!(some.value, 0.99);
        assert!((some.lower_95 - 0.9817).abs() < 1e-4, "{some:?}");
        assert!(SuccessRate::of(30_000, 0).lower_95 >= 0.9999, "what 99.99 % takes");
        assert!(SuccessRate::of(29_000, 0).lower_95 < 0.9999);
    }
}
