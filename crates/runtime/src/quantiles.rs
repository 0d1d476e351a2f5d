//! Duration samples and their quantiles.

use banyan_core::protocol::migration::Quantiles;
use hdrhistogram::Histogram;
use std::sync::{Arc, Mutex, PoisonError};

/// Collects durations with 0.1 % precision up to one hour; clones share the samples.
#[derive(Clone, Debug)]
pub struct Samples(Arc<Mutex<Histogram<u64>>>);

const MICROS_MAX: u64 = 3_600_000_000;

impl Default for Samples {
    fn default() -> Self {
        Self::new()
    }
}

impl Samples {
    /// No samples.
    pub fn new() -> Self {
        let histogram =
            Histogram::new_with_bounds(1, MICROS_MAX, 3).expect("the bounds are constants that fit");
        Self(Arc::new(Mutex::new(histogram)))
    }

    /// Adds a sample in milliseconds; negative counts as 0, more than an hour as an hour.
    pub fn record_ms(&self, ms: f64) {
        let micros = (ms * 1000.0).clamp(0.0, MICROS_MAX as f64) as u64;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(micros.max(1));
    }

    /// The quantiles of all samples so far.
    pub fn quantiles(&self) -> Quantiles {
        let histogram = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ms = |micros: u64| (micros as f64 / 1000.0 * 1000.0).round() / 1000.0;
        if histogram.is_empty() {
            return Quantiles::default();
        }
        Quantiles {
            count: histogram.len(),
            mean: (histogram.mean() / 1000.0 * 1000.0).round() / 1000.0,
            p50: ms(histogram.value_at_quantile(0.5)),
            p99: ms(histogram.value_at_quantile(0.99)),
            max: ms(histogram.max()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_samples() {
        let samples = Samples::new();
        assert_eq!(samples.quantiles(), Quantiles::default());
        (1..=1000).for_each(|n| samples.record_ms(f64::from(n)));
        let q = samples.quantiles();
        assert_eq!(q.count, 1000);
        for (value, wanted) in [(q.mean, 500.5), (q.p50, 500.0), (q.p99, 990.0), (q.max, 1000.0)] {
            assert!((value - wanted).abs() <= wanted / 500.0, "{value} {wanted}");
        }
    }
}
