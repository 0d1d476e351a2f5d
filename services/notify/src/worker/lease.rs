//! Keeps the service's lease: renewed by long polls, measured from before each was sent.
//!
//! While control does not answer, the lease runs out, and this service writes nothing that it owns. At
//! shutdown the lease is given back when the last request and the last mail are done.

use banyan_core::protocol::lease::{LEASES_PATH, LeaseGrant, LeaseKind, LeaseRequest};
use banyan_runtime::client::RoleClient;
use banyan_runtime::clock::Boot;
use banyan_runtime::tasks::Shutdown;
use banyan_store::Lease;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long to wait after a renewal that failed.
const RETRY: Duration = Duration::from_millis(200);
/// How long an answer may take beyond the time that control keeps it open.
const ANSWER: Duration = Duration::from_secs(2);
/// How long what is in flight may hold the lease at shutdown.
const DRAIN: Duration = Duration::from_secs(10);

/// The task.
pub struct Keeper {
    /// The lease.
    pub lease: Lease,
    /// Control.
    pub control: RoleClient,
    /// The capability whose buckets are owned.
    pub capability: String,
    /// Closed when nothing is in flight any more.
    pub serving: mpsc::Receiver<Infallible>,
}

impl Keeper {
    /// Renews until shutdown.
    ///
    /// # Errors
    /// None; the signature is the supervisor's.
    pub async fn run(mut self, shutdown: Shutdown) -> Result<(), Infallible> {
        let holder = format!("notify-{}", uuid::Uuid::now_v7());
        tokio::select! {
            never = self.renew(&holder) => match never {},
            () = shutdown.requested() => {}
        }
        // What is still in flight then is refused.
        let _ = tokio::time::timeout(DRAIN, self.drained(&holder)).await;
        self.lease.end();
        let given_back = self.control.timeout(ANSWER).delete(&format!("{LEASES_PATH}/{holder}")).await;
        if let Err(error) = given_back {
            tracing::debug!(%error, "the lease was not given back; it runs out by itself");
        }
        Ok(())
    }

    /// Goes on renewing until nothing is in flight.
    async fn drained(&mut self, holder: &str) {
        let (control, lease, capability) =
            (self.control.clone(), self.lease.clone(), self.capability.clone());
        let renewing = renew(&control, &lease, (&capability, holder));
        tokio::select! {
            never = renewing => match never {},
            _ = self.serving.recv() => {}
        }
    }

    async fn renew(&self, holder: &str) -> Infallible {
        renew(&self.control, &self.lease, (&self.capability, holder)).await
    }
}

async fn renew(control: &RoleClient, lease: &Lease, (capability, holder): (&str, &str)) -> Infallible {
    let mut request = LeaseRequest {
        holder: holder.into(),
        kind: LeaseKind::Service { capability: capability.into() },
        seen_version: 0,
        undrained: BTreeMap::new(),
        wait_ms: 0,
        answers: BTreeMap::new(),
        degraded: BTreeMap::new(),
    };
    let mut failing = false;
    loop {
        let sent = Boot::now();
        let wait = Duration::from_millis(request.wait_ms);
        match control.timeout(wait + ANSWER).post::<_, LeaseGrant>(LEASES_PATH, &request).await {
            Ok(grant) => {
                lease.extend(sent.plus(Duration::from_millis(grant.lease_ms)));
                if std::mem::take(&mut failing) {
                    tracing::info!("the lease is renewed again");
                }
                let early = grant.version == request.seen_version && sent.elapsed() < wait / 2;
                request.seen_version = grant.version;
                request.wait_ms = grant.lease_ms / 3;
                if early {
                    tokio::time::sleep(wait / 2).await;
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "the lease is not renewed");
                }
                request.wait_ms = 0;
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
