//! Holds the lease on the ownership table: one request to control at a time, one after the other.
//!
//! A renewal names the version by which all new requests are routed and the moving buckets that still have a
//! write of an earlier version in flight. While there are such, control is asked to answer at once, so that
//! the end of the last one is known within a millisecond or two; requests never overtake each other, so an
//! older report cannot undo a newer. Else control answers when the table changes.
//!
//! Where control does not answer, routing goes on until the lease ends. At shutdown the lease is kept until
//! the workers have drained, then given back.

use banyan_core::protocol::exposure::Answers;
use banyan_core::protocol::lease::{LEASES_PATH, LeaseGrant, LeaseKind, LeaseRequest};
use banyan_runtime::client::{CallError, RoleClient};
use banyan_runtime::clock::Boot;
use banyan_runtime::failpoints;
use banyan_runtime::tasks::Shutdown;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;

use crate::metrics::{LEASE, RENEWALS, TABLE_VERSION};
use crate::proxy::Shared;
use crate::route::CapabilityIndex;
use crate::state::{Grant, Report};

/// How long control may keep a request open while a bucket is being drained.
const DRAINING_WAIT: Duration = Duration::from_millis(1);
/// How often the lease is renewed during shutdown.
const ENDING_WAIT: Duration = Duration::from_millis(50);
/// How often, with that pause, it is looked whether the monolith has every acknowledged write by now.
const RECORD_WAITS_MAX: u32 = 20;
/// The pause after a failed renewal.
const PAUSE: Duration = Duration::from_millis(50);
/// The length of a lease before control has told one.
const LEASE_UNKNOWN: Duration = Duration::from_secs(3);

/// The task.
pub struct Keeper {
    /// The name of this gateway, unique per start.
    pub holder: String,
    /// Control.
    pub control: RoleClient,
    /// What is routed by the table, and what was acknowledged.
    pub shared: Arc<Shared>,
    /// Closed when all workers have ended.
    pub drained: mpsc::Receiver<Infallible>,
}

impl Keeper {
    /// Runs until the workers have drained after shutdown was requested.
    ///
    /// # Errors
    /// Never.
    pub async fn run(mut self, shutdown: Shutdown) -> Result<(), Infallible> {
        let mut lease = LEASE_UNKNOWN;
        let mut forced = Vec::new();
        let mut failing = false;
        while !shutdown.is_requested() {
            let asked = tokio::select! {
                asked = self.renew(lease, Some(&forced)) => asked,
                () = shutdown.requested() => break,
            };
            let failed = asked.is_err();
            match asked {
                Ok(granted) => (lease, forced) = granted,
                Err(error) if !failing => tracing::warn!(%error, "the lease was not renewed"),
                Err(_) => {}
            }
            if failing && !failed {
                tracing::info!("the lease is renewed again");
            }
            failing = failed;
            if failed {
                tokio::time::sleep(PAUSE).await;
            }
        }
        self.end(lease).await;
        Ok(())
    }

    /// Keeps the lease while workers drain, then gives it back.
    async fn end(&mut self, lease: Duration) {
        loop {
            tokio::select! {
                _ = self.drained.recv() => break,
                () = tokio::time::sleep(ENDING_WAIT) => {
                    if let Err(error) = self.renew(lease, None).await {
                        tracing::debug!(%error, "the lease was not renewed during shutdown");
                    }
                }
            }
        }
        let record = &self.shared.record;
        for _ in 0..RECORD_WAITS_MAX {
            if record.is_empty() {
                break;
            }
            tokio::time::sleep(ENDING_WAIT).await;
        }
        record.end();
        if !record.is_empty() {
            tracing::info!(
                "the lease ends by itself: the monolith does not have every acknowledged write yet"
            );
            return;
        }
        let path = format!("{LEASES_PATH}/{}", self.holder);
        if let Err(error) = self.control.timeout(PAUSE * 10).delete(&path).await {
            tracing::debug!(%error, "the lease was not given back; it ends by itself");
        }
    }

    /// What was acknowledged for capabilities that go back without their service. Complete where no write of a
    /// moving bucket is in flight: the report that says so was made before.
    fn answers(&self, report: &Report, forced: &[String]) -> BTreeMap<String, Answers> {
        let capabilities = self.shared.routes.capabilities().iter().enumerate();
        let told = capabilities.filter(|(index, capability)| {
            forced.contains(&capability.name) && !report.undrained.contains_key(&CapabilityIndex(*index))
        });
        told.map(|(_, of)| (of.name.clone(), self.shared.record.answers(&of.name))).collect()
    }

    fn degraded(&self) -> BTreeMap<String, u64> {
        let counts = self.shared.acknowledging.iter().map(|of| of.degraded.load(Ordering::Relaxed));
        let named = self.shared.routes.capabilities().iter().zip(counts);
        named.filter(|(_, count)| *count > 0).map(|(of, count)| (of.name.clone(), count)).collect()
    }

    /// One renewal; the length of the lease, and whose services are given up. It does not wait where `forced`
    /// is `None`.
    async fn renew(
        &self,
        lease: Duration,
        forced: Option<&[String]>,
    ) -> Result<(Duration, Vec<String>), CallError> {
        let report = self.shared.ownership.report();
        let wait = match () {
            () if forced.is_none() || report.seen_version == 0 => Duration::ZERO,
            () if !report.undrained.is_empty() => DRAINING_WAIT,
            () => lease / 3,
        };
        let name = |index: CapabilityIndex| self.shared.routes.capabilities()[index.0].name.clone();
        let request = LeaseRequest {
            answers: self.answers(&report, forced.unwrap_or_default()),
            degraded: self.degraded(),
            holder: self.holder.clone(),
            kind: LeaseKind::Gateway,
            seen_version: report.seen_version,
            undrained: report.undrained.into_iter().map(|(index, set)| (name(index), set)).collect(),
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        };
        let sent = Boot::now();
        // An answer that comes later than this leaves no time for another try before the lease ends.
        let control = self.control.timeout(wait + lease / 3);
        failpoints::before("gateway", "lease");
        let answer: Result<LeaseGrant, CallError> = control.post(LEASES_PATH, &request).await;
        failpoints::after("gateway", "lease");
        let outcome = if answer.is_ok() { "granted" } else { "failed" };
        RENEWALS.with_label_values(&[outcome]).inc();
        let grant = answer.inspect_err(|_| self.show());
        let grant = grant?;
        let lease = Duration::from_millis(grant.lease_ms);
        let tables = grant.table.map(|table| {
            let table = &table.capabilities;
            self.shared.routes.capabilities().iter().map(|c| table.get(&c.name).cloned()).collect()
        });
        self.shared.ownership.granted(Grant { until: sent.plus(lease), version: grant.version, tables });
        self.show();
        Ok((lease, grant.forced))
    }

    fn show(&self) {
        LEASE.set(i64::from(self.shared.ownership.is_leased()));
        let version = self.shared.ownership.report().seen_version;
        TABLE_VERSION.set(i64::try_from(version).unwrap_or(i64::MAX));
    }
}
