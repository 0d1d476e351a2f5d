//! The end of a gateway: readiness is refused at once, a moment later nothing new is accepted, and after that
//! what is in flight has until a deadline.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use banyan_runtime::clock;
use banyan_runtime::tasks::Shutdown;

use crate::config::Config;

/// When it comes. Clones say the same.
#[derive(Clone, Debug)]
pub struct Drained {
    shutdown: Shutdown,
    notice: Duration,
    max: Duration,
    since: Arc<OnceLock<Instant>>,
}

impl Drained {
    /// By `drain_notice_ms` and `drain_ms_max`, from when the first one here sees that shutdown is requested.
    pub fn new(shutdown: Shutdown, config: &Config) -> Self {
        let (notice, max) = (config.drain_notice_ms, config.drain_ms_max);
        let [notice, max] = [notice, max].map(Duration::from_millis);
        Self { shutdown, notice, max, since: Arc::default() }
    }

    /// Whether shutdown has been requested.
    pub fn is_requested(&self) -> bool {
        self.shutdown.is_requested()
    }

    /// Whoever asks for readiness has had time to notice: nothing new is accepted.
    pub async fn begins(&self) {
        self.after_request(self.notice).await;
    }

    /// The time for what is in flight is over.
    pub async fn over(&self) {
        self.after_request(self.notice + self.max).await;
    }

    async fn after_request(&self, wait: Duration) {
        self.shutdown.requested().await;
        let since = self.since.get_or_init(clock::instant);
        tokio::time::sleep(wait.saturating_sub(since.elapsed())).await;
    }
}
