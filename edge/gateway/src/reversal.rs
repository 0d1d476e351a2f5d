//! How far the monolith holds the services' outboxes, as sync tells it, and who waits for that.
//!
//! One task for each capability asks sync and waits for news. While sync does not answer, nothing is known to
//! have passed: the record keeps what it has, and writes that wait run into their bound.

use banyan_core::capability::DualWrite;
use banyan_core::protocol::exposure::Reversed;
use banyan_runtime::client::{CallError, RoleClient};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::watch;

use crate::record::Record;

/// How long sync may keep a request open.
const WAIT: Duration = Duration::from_secs(1);
/// What an answer may take beyond that.
const ANSWER: Duration = Duration::from_secs(1);
/// The pause after a failure.
const PAUSE: Duration = Duration::from_millis(200);
/// The pause between two answers where no write waits for them.
const UNHURRIED: Duration = Duration::from_millis(50);

/// Where one capability's outbox stands; clones share it.
#[derive(Clone, Debug)]
pub struct Reversal(watch::Sender<Reversed>);

/// The task of one capability.
pub struct Watcher {
    /// What it tells.
    pub reversal: Reversal,
    /// The capability.
    pub capability: String,
    /// Whether writes wait.
    pub dual_write: DualWrite,
    /// Sync.
    pub sync: RoleClient,
    /// Where lines die.
    pub record: Record,
}

impl Reversal {
    /// Nothing is known.
    pub fn new() -> Self {
        Self(watch::channel(Reversed::default()).0)
    }

    /// Whether the monolith has what stands up to this place.
    pub fn has(&self, place: &Reversed) -> bool {
        passes(&self.0.borrow(), place)
    }

    /// Waits until it has; false where the time ran out first.
    pub async fn reach(&self, place: &Reversed, limit: Duration) -> bool {
        let mut known = self.0.subscribe();
        let reached = known.wait_for(|reversed| passes(reversed, place));
        matches!(tokio::time::timeout(limit, reached).await, Ok(Ok(_)))
    }
}

fn passes(reversed: &Reversed, place: &Reversed) -> bool {
    reversed.incarnation == place.incarnation && reversed.position >= place.position
}

impl Watcher {
    /// Asks until nothing more is acknowledged, which is later than the request to end.
    ///
    /// # Errors
    /// Never.
    pub async fn run(self) -> Result<(), Infallible> {
        tokio::select! {
            never = self.watch() => match never {},
            () = self.record.ended() => Ok(()),
        }
    }

    async fn watch(&self) -> Infallible {
        let mut past = None;
        loop {
            match self.ask(past).await {
                Ok(reversed) => {
                    past = Some(reversed.position);
                    self.record.passed(&self.capability, &reversed);
                    self.reversal.0.send_replace(reversed);
                    if self.dual_write == DualWrite::Async {
                        tokio::time::sleep(UNHURRIED).await;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, capability = self.capability, "sync does not tell where reverse stands");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn ask(&self, past: Option<u64>) -> Result<Reversed, CallError> {
        let past = past.map(|position| format!("&past={position}&wait_ms={}", WAIT.as_millis()));
        let path = format!("/v1/reverse?capability={}{}", self.capability, past.unwrap_or_default());
        self.sync.timeout(WAIT + ANSWER).get(&path).await
    }
}
