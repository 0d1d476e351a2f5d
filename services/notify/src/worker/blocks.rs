//! Leases ids from the monolith's counters before they run short.
//!
//! A block is stored before its first id is used. One whose answer was lost is never used by anybody.

use crate::domain::Command;
use crate::store::{LEASED, NotifyCore, Signals};
use banyan_core::protocol::monolith::{BlockRequest, IdBlock};
use banyan_runtime::client::RoleClient;
use banyan_runtime::tasks::Shutdown;
use banyan_store::blocks::Blocks;
use banyan_store::{Readers, Shell};
use std::convert::Infallible;
use std::time::Duration;

const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// The task.
pub struct Leaser {
    /// Where blocks are stored.
    pub shell: Shell<NotifyCore>,
    /// How many ids are left.
    pub readers: Readers,
    /// Sync.
    pub sync: RoleClient,
    /// The capability.
    pub capability: String,
    /// Ids per block.
    pub size: u64,
    /// Below this many, more are leased.
    pub low: u64,
    /// Woken when ids run short.
    pub signals: Signals,
}

impl Leaser {
    /// Leases until shutdown.
    ///
    /// # Errors
    /// None; the signature is the supervisor's.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), Infallible> {
        let mut retry = RETRY_MIN;
        loop {
            let outcome = tokio::select! {
                outcome = self.fill() => outcome,
                () = shutdown.requested() => return Ok(()),
            };
            let wait = async {
                match outcome {
                    Ok(()) => {
                        retry = RETRY_MIN;
                        self.signals.blocks.notified().await;
                    }
                    Err(error) => {
                        tracing::warn!(error, "no ids were leased");
                        tokio::time::sleep(retry).await;
                        retry = (retry * 2).min(RETRY_MAX);
                    }
                }
            };
            tokio::select! {
                () = wait => {}
                () = shutdown.requested() => return Ok(()),
            }
        }
    }

    async fn fill(&self) -> Result<(), String> {
        for table in LEASED {
            while self.left(table).await? < self.low {
                let request = BlockRequest {
                    capability: self.capability.clone(),
                    table: table.into(),
                    size: self.size,
                };
                let block: IdBlock =
                    self.sync.post("/v1/blocks", &request).await.map_err(|error| error.to_string())?;
                let add = Command::AddBlock { table: table.into(), block };
                self.shell.execute(add).await.map_err(|refusal| format!("{table}: {refusal:?}"))?;
                tracing::info!(table, first = block.first, last = block.last, "ids leased");
            }
        }
        Ok(())
    }

    async fn left(&self, table: &'static str) -> Result<u64, String> {
        let left = self.readers.read(move |db| Ok(Blocks::load(db)?.left(table))).await;
        left.map_err(|fault| fault.to_string())
    }
}
