//! How long the steps of an attempt took.

use banyan_runtime::clock::Boot;

/// Durations by step.
#[derive(Clone, Debug, Default)]
pub(super) struct Timing {
    steps: Vec<(String, u64)>,
    current: Option<(&'static str, Boot)>,
    frozen: Option<Boot>,
}

impl Timing {
    /// Forgets the attempt before.
    pub fn restart(&mut self) {
        *self = Self::default();
    }

    /// A step begins, or goes on; `None` ends the present one.
    pub fn enter(&mut self, step: Option<&'static str>, now: Boot) {
        if self.current.map(|(name, _)| name) == step {
            return;
        }
        self.close(now);
        self.current = step.map(|name| (name, now));
    }

    /// Writes are held from now on.
    pub fn freeze(&mut self, now: Boot) {
        self.frozen = Some(now);
    }

    /// Since when writes are held; `None` where an earlier control froze them.
    pub fn held_ms(&self, now: Boot) -> Option<u64> {
        self.frozen.map(|since| ms(since, now))
    }

    /// The steps so far, the present one included.
    pub fn steps(&self, now: Boot) -> Vec<(String, u64)> {
        let mut all = self.clone();
        all.close(now);
        all.steps
    }

    fn close(&mut self, now: Boot) {
        if let Some((name, since)) = self.current.take() {
            self.steps.push((name.to_owned(), ms(since, now)));
        }
    }
}

fn ms(from: Boot, to: Boot) -> u64 {
    u64::try_from(to.since(from).as_millis()).unwrap_or(u64::MAX)
}
