//! control on a runtime of its own, so that it can be killed, and everything around it.

use crate::gateway::{Gateway, Renewals};
use crate::peers::{POLL, Peers};
use banyan_control::{Config, Deps};
use banyan_core::ownership::Phase;
use banyan_core::protocol::migration::{HandoverOutcome, HandoverReport, MigrationStatus, MoveRequest};
use banyan_core::row::FenceOwner;
use banyan_core::{BUCKETS, Bucket, BucketSet, Capability, Side};
use banyan_runtime::client::{CallError, RoleClient};
use banyan_runtime::clock::Boot;
use banyan_runtime::http::serve;
use banyan_runtime::secrets::RoleToken;
use banyan_runtime::tasks::{OnError, Tasks};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

const PATIENCE: Duration = Duration::from_secs(20);
pub const CAPABILITY: &str = "notifications";

/// control, and everything around it.
pub struct World {
    pub peers: Peers,
    pub gateways: Vec<Gateway>,
    pub control: RoleClient,
    pub token: RoleToken,
    config: Config,
    renewals: Vec<Renewals>,
    runtime: Option<(Runtime, Tasks)>,
    port: u16,
    peers_url: String,
    tasks: Tasks,
    folder: TempDir,
}

/// Options with which a test does not take long.
pub fn brisk() -> Config {
    Config {
        lease_ms: 300,
        lease_margin_ms: 50,
        apply_ms_max: 600,
        ack_ms_max: 200,
        buckets_max: 4096,
        ..Config::default()
    }
}

impl World {
    /// Everything, two gateways included, ready for a handover.
    pub async fn start() -> Self {
        Self::start_with(brisk()).await
    }

    /// The same with these options.
    pub async fn start_with(config: Config) -> Self {
        let (peers, tasks, token) = (Peers::new(), Tasks::new(), RoleToken::new("secret of the roles"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peers_url = format!("http://{}", listener.local_addr().unwrap());
        tasks.spawn("peers", OnError::Log, serve(listener, peers.router(&token), tasks.shutdown()));
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let control = RoleClient::new(&format!("http://127.0.0.1:{port}"), token.clone());
        let gateways: Vec<Gateway> = ["g1", "g2"].into_iter().map(Gateway::new).collect();
        let watched = gateways.clone();
        peers.sides().held_by_all =
            Some(Box::new(move |buckets| watched.iter().all(|gateway| gateway.holds(buckets))));
        let renewals = gateways.iter().map(|g| g.start(control.clone())).collect();
        let folder = tempfile::tempdir().unwrap();
        let mut world = Self {
            peers,
            gateways,
            control,
            token,
            config,
            renewals,
            runtime: None,
            port,
            peers_url,
            tasks,
            folder,
        };
        world.start_control().await;
        world
    }

    /// The journal's file.
    pub fn journal(&self) -> PathBuf {
        self.folder.path().join("control.db")
    }

    /// Starts control on the journal.
    pub async fn start_control(&mut self) {
        let (runtime, tasks) = (Runtime::new().unwrap(), Tasks::new());
        let peer = RoleClient::new(&self.peers_url, self.token.clone());
        let deps = Deps {
            data_dir: self.folder.path().into(),
            capabilities: [notifications()].into(),
            sync: peer.clone(),
            services: BTreeMap::from([(CAPABILITY.into(), peer)]),
            tasks: tasks.clone(),
            token: self.token.clone(),
        };
        let (config, port, supervisor) = (self.config.clone(), self.port, tasks.clone());
        let started = runtime.spawn(async move {
            let router = banyan_control::start(config, deps).await.unwrap();
            // The port is free once the sockets of a killed control are closed.
            let listener = loop {
                match TcpListener::bind(("127.0.0.1", port)).await {
                    Ok(listener) => break listener,
                    Err(_) => tokio::time::sleep(POLL).await,
                }
            };
            supervisor.spawn("control", OnError::Log, serve(listener, router, supervisor.shutdown()));
        });
        started.await.unwrap();
        self.runtime = Some((runtime, tasks));
        until("control answers", async || self.control.get::<MigrationStatus>(&path("")).await.is_ok()).await;
        until("gateways know the table", async || self.gateways.iter().all(|g| g.version() > 0)).await;
    }

    /// Ends control at once, wherever it stands.
    pub fn kill_control(&mut self) {
        if let Some((runtime, _)) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Ends control as a signal does; the failure that ended it earlier, if one did.
    pub async fn stop_control(&mut self) -> Option<String> {
        let (runtime, tasks) = self.runtime.take()?;
        tasks.stop(PATIENCE).await;
        runtime.shutdown_background();
        tasks.failure()
    }

    /// A gateway crashes.
    pub fn kill_gateway(&mut self, nth: usize) {
        self.renewals.remove(nth);
        let gone = self.gateways.remove(nth);
        let watched = self.gateways.clone();
        drop(gone);
        self.peers.sides().held_by_all = Some(Box::new(move |b| watched.iter().all(|g| g.holds(b))));
    }

    /// Where the migration stands.
    pub async fn status(&self) -> MigrationStatus {
        self.control.get(&path("")).await.unwrap()
    }

    /// Makes a wish.
    pub async fn ask(&self, action: &str, percent: Option<f64>) -> Result<MigrationStatus, CallError> {
        let request = MoveRequest { percent, by: "ann".into(), reason: "a test".into(), wait_ms: 0 };
        self.control.post(&path(&format!("/{action}")), &request).await
    }

    /// Makes a wish and waits until it is reached.
    pub async fn go(&self, action: &str, percent: f64) -> MigrationStatus {
        self.ask(action, Some(percent)).await.unwrap();
        self.arrive(percent).await
    }

    /// Waits until a share is reached, and checks that everybody agrees.
    pub async fn arrive(&self, percent: f64) -> MigrationStatus {
        self.until_status("the share is reached", |s| {
            (s.percent - percent).abs() < 0.05
                && (s.wanted_percent - percent).abs() < 1e-9
                && s.stragglers.is_empty()
                && s.handover.as_ref().is_none_or(|h| h.outcome != HandoverOutcome::Running)
        })
        .await;
        let status = self.status().await;
        self.check(&status).await;
        status
    }

    /// Waits for a condition on the status.
    pub async fn until_status(&self, what: &str, matches: impl Fn(&MigrationStatus) -> bool) {
        let deadline = Boot::now().plus(PATIENCE);
        loop {
            // Control may be starting.
            let status: Result<MigrationStatus, _> = self.control.get(&path("")).await;
            if status.as_ref().is_ok_and(&matches) {
                return;
            }
            assert!(Boot::now() < deadline, "not true within {PATIENCE:?}: {what}: {status:?}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// The newest handovers, newest first.
    pub async fn handovers(&self) -> Vec<HandoverReport> {
        self.control.get(&format!("/v1/handovers?capability={CAPABILITY}&limit=1000")).await.unwrap()
    }

    /// Fence, service, journal and gateways say the same, and nothing went wrong on the way.
    pub async fn check(&self, status: &MigrationStatus) {
        until("gateways know the newest table", async || {
            self.gateways.iter().all(|g| g.version() >= status.version)
        })
        .await;
        let table = self.gateways[0].table();
        let holdings = &table.capabilities[CAPABILITY];
        let sides = self.peers.sides();
        for bucket in (0..BUCKETS).map(|n| Bucket::try_from(n).unwrap()) {
            let holding = holdings.get(bucket);
            let (owner, open) = match holding.owner {
                Side::Monolith => (FenceOwner::Monolith, None),
                Side::Service => (FenceOwner::Service, Some(holding.owner_epoch)),
            };
            assert_eq!(holding.phase, Phase::Steady, "{bucket}");
            assert_eq!(sides.fence(bucket), (owner, holding.owner_epoch), "{bucket}");
            assert_eq!(sides.open(bucket), open, "{bucket}");
        }
        assert_eq!(holdings.filter(|h| h.owner == Side::Service), status.service_buckets);
        assert!(sides.violations.is_empty(), "{:?}", sides.violations);
        assert!(!sides.gates_held(), "gates are still held");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kill_control();
        self.tasks.request_shutdown();
    }
}

/// A path of the capability's migration.
pub fn path(tail: &str) -> String {
    format!("/v1/migrations/{CAPABILITY}{tail}")
}

/// The buckets of a text such as `1-3,7`.
pub fn buckets(text: &str) -> BucketSet {
    text.parse().unwrap()
}

/// Waits for a condition, with a deadline.
pub async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Boot::now().plus(PATIENCE);
    while !condition().await {
        assert!(Boot::now() < deadline, "not true within {PATIENCE:?}: {what}");
        tokio::time::sleep(POLL).await;
    }
}

fn notifications() -> Capability {
    let declared = serde_json::json!({
        "name": CAPABILITY, "owner": "team", "service": "http://127.0.0.1:1", "routes": [], "tables": [],
    });
    serde_json::from_value(declared).unwrap()
}
