//! Banyan as an operator sees it: its roles' HTTP APIs.

use anyhow::{Context as _, bail};
use banyan_core::protocol::import::ImportState;
use banyan_core::protocol::migration::{
    HandoverOutcome, HandoverReport, MigrationStatus, MoveRequest, Quantiles,
};
use banyan_core::protocol::monolith::{OfCapability, SyncStatus, VerifyReport};
use banyan_core::protocol::target::{OutboxPage, RowsPage};
use banyan_runtime::client::RoleClient;
use banyan_runtime::clock;
use serde::Deserialize;
use std::time::Duration;

/// The capability that moves.
pub const CAPABILITY: &str = "notifications";
/// How long a comparison of all rows may take.
const VERIFY_MAX: Duration = Duration::from_secs(120);
/// How often a condition is looked at.
pub const POLL: Duration = Duration::from_millis(20);

/// The APIs of one installation.
#[derive(Clone)]
pub struct Operator {
    /// Owners, handovers, audit.
    pub control: RoleClient,
    /// The streams.
    pub sync: RoleClient,
    /// The notifications service.
    pub service: RoleClient,
    /// The gateway's own figures.
    pub gateway: RoleClient,
}

/// `GET /v1/holds` of the gateway.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Holds {
    /// How long requests were held.
    pub hold_ms: Quantiles,
    /// The slowest write in flight that a freeze had to wait for.
    pub drained_write_ms_max: f64,
}

impl Operator {
    /// Where the migration stands.
    ///
    /// # Errors
    /// Control does not answer.
    pub async fn status(&self) -> anyhow::Result<MigrationStatus> {
        Ok(self.control.get(&format!("/v1/migrations/{CAPABILITY}")).await?)
    }

    /// Asks for a share at the service.
    ///
    /// # Errors
    /// Control refuses.
    pub async fn ask(&self, percent: f64, up: bool) -> anyhow::Result<MigrationStatus> {
        let action = if up { "advance" } else { "rollback" };
        self.command(action, (Some(percent), format!("to {percent} %"))).await
    }

    /// Asks for the next step up.
    ///
    /// # Errors
    /// Control refuses: there is none.
    pub async fn ask_next(&self) -> anyhow::Result<MigrationStatus> {
        self.command("advance", (None, "one step up".into())).await
    }

    async fn command(
        &self,
        action: &str,
        (percent, reason): (Option<f64>, String),
    ) -> anyhow::Result<MigrationStatus> {
        let refused = format!("control refused to {action} {reason}");
        let request = MoveRequest { percent, by: "rehearsal".into(), reason, wait_ms: 0 };
        let path = format!("/v1/migrations/{CAPABILITY}/{action}");
        self.control.post(&path, &request).await.context(refused)
    }

    /// Asks for a share and waits until every bucket is where it should be; how long it took from the
    /// command on.
    ///
    /// # Errors
    /// It takes longer than `patience`; the message says what it waits for.
    pub async fn move_to(&self, percent: f64, up: bool, patience: Duration) -> anyhow::Result<Duration> {
        let start = clock::instant();
        self.ask(percent, up).await?;
        loop {
            let status = self.status().await?;
            if arrived(&status, percent) {
                return Ok(start.elapsed());
            }
            if start.elapsed() > patience {
                bail!("{percent} % not reached within {} s: {}", patience.as_secs(), standing(&status));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The newest handovers, at most `limit`.
    ///
    /// # Errors
    /// Control does not answer.
    pub async fn handovers(&self, limit: u64) -> anyhow::Result<Vec<HandoverReport>> {
        Ok(self.control.get(&format!("/v1/handovers?capability={CAPABILITY}&limit={limit}")).await?)
    }

    /// How the streams are.
    ///
    /// # Errors
    /// Sync does not answer.
    pub async fn sync_status(&self) -> anyhow::Result<SyncStatus> {
        Ok(self.sync.get(&format!("/v1/status?capability={CAPABILITY}")).await?)
    }

    /// Compares all rows of both sides.
    ///
    /// # Errors
    /// Sync cannot compare them.
    pub async fn verify(&self) -> anyhow::Result<VerifyReport> {
        let of = OfCapability { capability: CAPABILITY.into() };
        Ok(self.sync.timeout(VERIFY_MAX).post("/v1/verify", &of).await?)
    }

    /// How requests were held.
    ///
    /// # Errors
    /// The gateway does not answer.
    pub async fn holds(&self) -> anyhow::Result<Holds> {
        Ok(self.gateway.get("/v1/holds").await?)
    }

    /// How far the service has applied the monolith's binlog.
    ///
    /// # Errors
    /// The service does not answer.
    pub async fn import_state(&self) -> anyhow::Result<ImportState> {
        Ok(self.service.get("/v1/import").await?)
    }

    /// The highest position of the service's outbox.
    ///
    /// # Errors
    /// The service does not answer.
    pub async fn outbox_head(&self) -> anyhow::Result<u64> {
        let page: OutboxPage = self.service.get("/v1/outbox?after=0&limit=1&wait_ms=0").await?;
        Ok(page.head)
    }

    /// All keys of a table as the service tells them.
    ///
    /// # Errors
    /// The service does not answer.
    pub async fn keys(&self, table: &str, key: &str) -> anyhow::Result<Vec<u64>> {
        let mut keys: Vec<u64> = Vec::new();
        loop {
            let after = keys.last().copied().unwrap_or_default();
            let path = format!("/v1/rows?table={table}&after={after}&limit=1000");
            let page: RowsPage = self.service.get(&path).await?;
            keys.extend(page.rows.iter().filter_map(|row| row.get(key)?.as_u64()));
            if !page.more {
                return Ok(keys);
            }
        }
    }
}

/// Whether every bucket is where it should be and no handover runs.
pub fn arrived(status: &MigrationStatus, percent: f64) -> bool {
    let reached = (status.percent - percent).abs() < 0.05 && (status.wanted_percent - percent).abs() < 1e-9;
    reached && status.stragglers.is_empty() && at_rest(status)
}

/// Whether no handover runs.
pub fn at_rest(status: &MigrationStatus) -> bool {
    status.handover.as_ref().is_none_or(|h| h.outcome != HandoverOutcome::Running)
}

/// Where a migration stands, in words.
pub fn standing(status: &MigrationStatus) -> String {
    let waits = match status.waiting_for.as_slice() {
        [] => "nothing".into(),
        causes => causes.join("; "),
    };
    let (percent, stragglers) = (status.percent, status.stragglers.len());
    format!("{percent:.1} % at the service, {stragglers} buckets straggle, waits for {waits}")
}
