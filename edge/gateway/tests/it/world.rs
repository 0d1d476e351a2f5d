//! The gateway and everything around it.

use banyan_core::{Capability, Phase, Side};
use banyan_gateway::config::GroupConfig;
use banyan_gateway::{Config, Deps};
use banyan_runtime::client::RoleClient;
use banyan_runtime::clock::Boot;
use banyan_runtime::http::serve;
use banyan_runtime::secrets::RoleToken;
use banyan_runtime::tasks::{OnError, Tasks};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

use crate::client::{Answer, Ask, PATIENCE};
use crate::origin::Origin;
use crate::peers::{Auth, Control};

const TOKEN: &str = "secret of the roles";

/// A gateway before a monolith and a service.
pub struct World {
    /// Where clients connect.
    pub gateway: SocketAddr,
    /// The gateway's own port.
    pub admin: RoleClient,
    pub monolith: Origin,
    pub service: Origin,
    pub auth: Auth,
    pub control: Control,
    /// The gateway's tasks.
    pub tasks: Tasks,
    _running: (Gateway, Stopping),
}

/// Ends the servers of a test with it.
pub struct Stopping(pub Tasks);

impl Drop for Stopping {
    fn drop(&mut self) {
        self.0.request_shutdown();
    }
}

impl World {
    /// Starts all with default options.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts all with changed options, and waits for the lease.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let others = Tasks::new();
        let monolith = Origin::start("monolith", &others).await;
        let service = Origin::start("service", &others).await;
        let (auth, control) = (Auth::default(), Control::default());
        let urls = Urls { monolith: monolith.url(), service: service.url() };
        let running = Gateway::start(urls, (&auth, &control), change).await;
        let (gateway, admin, tasks) = (running.address, running.admin.clone(), running.tasks.clone());
        let running = (running, Stopping(others));
        let world = Self { gateway, admin, monolith, service, auth, control, tasks, _running: running };
        until("the lease is granted", async || world.control.is_acknowledged(1, &[])).await;
        world
    }

    /// Sends a request.
    pub async fn ask(&self, ask: Ask) -> Answer {
        ask.send(self.gateway).await
    }

    /// Changes the buckets of these subjects and waits until the gateway goes by it.
    pub async fn set(&self, subjects: &[&str], to: (Side, Phase, u64)) -> u64 {
        let version = self.control.set(subjects, to);
        until("the version is acknowledged", async || {
            self.control.reports().last().is_some_and(|report| report.seen_version == version)
        })
        .await;
        version
    }

    /// `GET /v1/holds`.
    pub async fn holds(&self) -> serde_json::Value {
        self.admin.get("/v1/holds").await.unwrap()
    }

    /// A metric's value, by its line's beginning.
    pub async fn metric(&self, beginning: &str) -> f64 {
        let metrics = Ask::new("GET", "/metrics").send(self.admin_address()).await.text();
        metrics.lines().find_map(|line| line.strip_prefix(beginning)?.trim().parse().ok()).unwrap_or(0.0)
    }

    /// Where the gateway says how it is.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.base_url().trim_start_matches("http://").parse().unwrap()
    }
}

/// Where a gateway's upstreams are.
pub struct Urls {
    pub monolith: String,
    pub service: String,
}

/// A gateway with peers.
pub struct Gateway {
    pub address: SocketAddr,
    pub admin: RoleClient,
    pub tasks: Tasks,
    _stopping: [Stopping; 2],
}

impl Gateway {
    /// Starts it with two workers.
    pub async fn start(
        urls: Urls,
        (auth, control): (&Auth, &Control),
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let (tasks, others, token) = (Tasks::new(), Tasks::new(), RoleToken::new(TOKEN));
        let (auth, control) = (auth.start(&token, &others).await, control.start(&token, &others).await);
        let mut config = Config { workers: 2, groups: vec![payments()], ..Config::default() };
        change(&mut config);
        let address = free_address().await;
        let deps = Deps {
            listen: address,
            monolith_url: urls.monolith,
            session_cookie: "shop_session".into(),
            capabilities: Arc::new([notifications(&urls.service)]),
            auth: RoleClient::new(&auth, token.clone()),
            control: RoleClient::new(&control, token.clone()),
            tasks: tasks.clone(),
            token: token.clone(),
        };
        let router = banyan_gateway::start(config, deps).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = RoleClient::new(&format!("http://{}", listener.local_addr().unwrap()), token);
        others.spawn("admin", OnError::Log, serve(listener, router, others.shutdown()));
        let _stopping = [Stopping(tasks.clone()), Stopping(others)];
        Self { address, admin, tasks, _stopping }
    }
}

async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn payments() -> GroupConfig {
    let paths = ["/payments/*", "/api/payments/*"].map(|p| p.parse().unwrap()).into();
    GroupConfig { name: "payments".into(), paths, methods: Vec::new(), in_flight_max: 2 }
}

/// The capability of the tests.
pub fn notifications(service: &str) -> Capability {
    let declared = serde_json::json!({
        "name": "notifications", "owner": "team", "service": service, "tables": [],
        "routes": [
            { "method": "GET", "path": "/notifications", "kind": "page" },
            { "method": "POST", "path": "/notifications/{id}/read", "kind": "write" },
            { "method": "POST", "path": "/notifications/{id}/hang", "kind": "write" },
            { "method": "POST", "path": "/notifications/{id}/trickle", "kind": "write" },
            { "method": "POST", "path": "/unsubscribe", "kind": "write", "csrf": false,
              "subject": { "from": "lookup", "field": "email", "lookup": "users.email" } },
            { "method": "GET", "path": "/api/notifications", "kind": "read" },
            { "method": "POST", "path": "/api/notifications", "kind": "write" },
            { "method": "DELETE", "path": "/api/notifications/{id}", "kind": "write" },
            { "method": "PUT", "path": "/api/users/{user}/preferences", "kind": "write", "csrf": false,
              "subject": { "from": "path", "name": "user" } },
            { "method": "POST", "path": "/hooks", "kind": "write", "csrf": false,
              "subject": { "from": "field", "name": "user_id" } },
            { "method": "GET", "path": "/by-query", "kind": "read", "subject": { "from": "query", "name": "u" } },
            { "method": "GET", "path": "/by-header", "kind": "read",
              "subject": { "from": "header", "name": "x-user" } },
        ],
    });
    serde_json::from_value(declared).unwrap()
}

/// Waits for a condition, with a deadline.
pub async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Boot::now().plus(PATIENCE);
    while !condition().await {
        assert!(Boot::now() < deadline, "not true within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
