//! When customers act: a Poisson process, so that requests come in bursts as from independent people.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::time::{Duration, Instant};

/// The instants at which requests are due, however slow the answers are.
pub struct Arrivals {
    next: Instant,
    rate: f64,
    chance: StdRng,
}

impl Arrivals {
    /// Arrivals from an instant on, `rate` a second on average.
    pub fn new(start: Instant, rate: f64, seed: u64) -> Self {
        let mut arrivals = Self { next: start, rate, chance: StdRng::seed_from_u64(seed) };
        arrivals.advance();
        arrivals
    }

    /// When the next request is due.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Takes the next arrival and draws the one after it.
    pub fn take(&mut self) -> Instant {
        let due = self.next;
        self.advance();
        due
    }

    fn advance(&mut self) {
        // Inverse of the exponential distribution; 1 - u is never 0.
        let uniform: f64 = self.chance.random();
        self.next += Duration::from_secs_f64(-(1.0 - uniform).ln() / self.rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_runtime::clock;

    fn take(seed: u64) -> Vec<Duration> {
        let start = clock::instant();
        let mut arrivals = Arrivals::new(start, 50.0, seed);
        (0..10_000).map(|_| arrivals.take() - start).collect()
    }

    #[test]
    fn the_rate_is_kept_on_average_and_gaps_vary_as_for_independent_people() {
        let all = take(1);
        assert!((all[9_999].as_secs_f64() - 200.0).abs() < 8.0, "{:?}", all[9_999]);
        let gaps: Vec<f64> = all.windows(2).map(|w| (w[1] - w[0]).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // Of an exponential distribution, standard deviation and mean are equal.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.1, "{}", variance.sqrt() / mean);
    }

    #[test]
    fn a_seed_says_when() {
        assert_eq!(take(7)[..100], take(7)[..100]);
        assert_ne!(take(7)[..100], take(8)[..100]);
    }
}
