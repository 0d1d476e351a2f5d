//! A gateway from its preparation to its end, as the process that hosts it sees it: it accepts, takes other
//! options, retires.
//!
//! Invariants: options are exchanged as a whole or not at all; a request goes on with those that it began with;
//! what is in flight counts against the bounds in force.

use axum::routing::get;
use axum::{Json, Router};
use banyan_core::Capability;
use banyan_runtime::client::RoleClient;
use banyan_runtime::http::{metrics_route, role_only};
use banyan_runtime::tasks::OnError;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

use crate::bound::Bound;
use crate::identity::Identities;
use crate::proxy::{Current, Labels, Proxy, Shared};
use crate::stage::{Mover, Stage};
use crate::worker::Worker;
use crate::{Config, Deps, StartError, group, lease, listeners, ownership, pool, route, spawner, state};

/// The gateway.
pub struct Gateway {
    deps: Deps,
    shared: Mutex<Arc<Shared>>,
    workers: Vec<Arc<Current>>,
    connections: Arc<Bound>,
    mover: Mover,
}

impl Gateway {
    /// Starts the workers and the lease on these sockets; nothing is accepted yet.
    ///
    /// # Errors
    /// An option or an address that cannot work, no threads.
    pub fn prepare(config: Config, deps: Deps, sockets: Vec<TcpListener>) -> Result<Self, StartError> {
        config.check().map_err(StartError::Config)?;
        let shared = shared(config, (&deps, &deps.capabilities), None)?;
        let connections = Bound::new(shared.config.connections_max);
        let (mover, mut workers) = (Mover::new(), Vec::new());
        let (draining, drained) = mpsc::channel(1);
        let hands = listeners::deal(sockets, shared.config.worker_count());
        for (number, sockets) in hands.into_iter().enumerate() {
            let exchanges = spawner::Spawner::default();
            let proxy = Proxy::new(shared.clone(), identities(&shared.config, &deps), exchanges.clone());
            let current = Current::new(proxy);
            let worker = Worker {
                number,
                current: current.clone(),
                exchanges,
                connections: connections.clone(),
                stages: mover.stages(),
                shutdown: deps.tasks.shutdown(),
            };
            worker.start(sockets, &deps.tasks, draining.clone()).map_err(StartError::Worker)?;
            workers.push(current);
        }
        let keeper = lease::Keeper {
            holder: format!("gateway-{}", uuid::Uuid::now_v7()),
            control: deps.control.clone(),
            ownership: shared.ownership.clone(),
            routes: shared.routes.clone(),
            drained,
        };
        deps.tasks.spawn("gateway lease", OnError::StopProcess, keeper.run(deps.tasks.shutdown()));
        Ok(Self { shared: Mutex::new(shared), deps, workers, connections, mover })
    }

    /// The routes of the admin port: `GET /v1/holds` for roles, `/metrics` and `/healthz`.
    pub fn admin(&self) -> Router {
        let ownership = self.shared().ownership.clone();
        let holds = get(move || async move { Json(ownership.holds()) });
        role_only(Router::new().route("/v1/holds", holds), &self.deps.token).merge(metrics_route())
    }

    /// Begins to accept clients.
    pub fn accept(&self) {
        self.mover.go(Stage::Accepting);
    }

    /// Resolves when requests of capabilities can be routed: control has granted a lease and told its table.
    pub async fn ready(&self) {
        let ownership = self.shared().ownership.clone();
        ownership.ready().await;
    }

    /// Takes other options for requests that begin from now on. The number of workers stays, and connections
    /// that are open keep their bounds of heads and idle time.
    ///
    /// # Errors
    /// They cannot work, or the capabilities are others; then nothing has changed.
    pub fn reload(&self, config: Config, capabilities: &Arc<[Capability]>) -> Result<(), StartError> {
        config.check().map_err(StartError::Config)?;
        let mut current = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let names = |all: &[Capability]| all.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
        if names(current.routes.capabilities()) != names(capabilities) {
            return Err(StartError::Capabilities);
        }
        let shared = shared(config, (&self.deps, capabilities), Some(&current))?;
        shared.ownership.set_limits(hold_limits(&shared.config));
        self.connections.resize(shared.config.connections_max);
        for worker in &self.workers {
            worker.set(worker.get().renewed(shared.clone(), identities(&shared.config, &self.deps)));
        }
        *current = shared;
        Ok(())
    }

    /// Accepts nobody any more: another process does, on the same sockets. Clients are told to connect anew by
    /// their next answer. The lease is kept until shutdown.
    pub fn retire(&self) {
        self.mover.go(Stage::Retired);
    }

    /// Resolves when a retired gateway has no connection of a client left.
    pub async fn emptied(&self) {
        self.connections.emptied().await;
    }

    fn shared(&self) -> Arc<Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What workers share by these options; ownership and places are those of before. Places move last, when
/// nothing can fail any more.
fn shared(
    config: Config,
    (deps, capabilities): (&Deps, &Arc<[Capability]>),
    before: Option<&Shared>,
) -> Result<Arc<Shared>, StartError> {
    let monolith = pool::Authority::of_url(&deps.monolith_url).map_err(StartError::Monolith)?;
    let service = |c: &Capability| {
        pool::Authority::of_url(&c.service).map_err(|fault| StartError::Service(c.name.clone(), fault))
    };
    let services = capabilities.iter().map(service).collect::<Result<_, _>>()?;
    let ownership = match before {
        Some(before) => before.ownership.clone(),
        None => ownership::Ownership::new(hold_limits(&config)),
    };
    let groups = group::Groups::new(&config, before.map(|b| &b.groups));
    Ok(Arc::new(Shared {
        routes: route::Routes::new(capabilities.clone()),
        labels: Labels::new(&groups, capabilities),
        token: deps.token.clone(),
        config,
        groups,
        ownership,
        monolith,
        services,
    }))
}

fn hold_limits(config: &Config) -> state::Limits {
    state::Limits {
        hold_max: Duration::from_millis(config.hold_ms_max),
        requests_max: config.hold_requests_max,
        bytes_max: config.hold_bytes_max,
    }
}

/// Each worker has connections of its own: they live on its runtime.
fn identities(config: &Config, deps: &Deps) -> Identities {
    let timeout = Duration::from_millis(config.identity_timeout_ms);
    let auth = RoleClient::new(deps.auth.base_url(), deps.token.clone()).timeout(timeout);
    Identities::new(auth, deps.session_cookie.clone(), config.identities_max)
}
