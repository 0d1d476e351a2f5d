//! A gateway from its preparation to its end, as the process that hosts it sees it: it accepts, takes other
//! options, retires.
//!
//! Invariants: options are exchanged as a whole or not at all; a request goes on with those that it began with;
//! what is in flight counts against the bounds in force.

use axum::routing::get;
use axum::{Json, Router};
use banyan_core::Capability;
use banyan_runtime::client::RoleClient;
use banyan_runtime::http::{Problem, metrics_route, role_only};
use banyan_runtime::tasks::{OnError, Tasks};
use std::net::TcpListener;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

use crate::acknowledge::Acknowledging;
use crate::bound::Bound;
use crate::drained::Drained;
use crate::identity::Identities;
use crate::proxy::{Current, Labels, Proxy, Shared};
use crate::record::Record;
use crate::reversal::{self, Reversal};
use crate::stage::{Mover, Stage};
use crate::tls::Certificates;
use crate::worker::Worker;
use crate::{
    Config, Deps, StartError, connection, error, group, lease, listeners, metrics, ownership, pool, route,
    spawner, state, tunnel,
};

/// The gateway.
pub struct Gateway {
    deps: Deps,
    shared: Mutex<Arc<Shared>>,
    workers: Vec<Arc<Current>>,
    connections: Arc<Bound>,
    certificates: Option<Arc<Certificates>>,
    drained: Drained,
    mover: Mover,
}

impl Gateway {
    /// Starts the workers and the lease on these sockets; nothing is accepted yet.
    ///
    /// # Errors
    /// An option or an address that cannot work, no threads.
    pub fn prepare(config: Config, deps: Deps, sockets: Vec<TcpListener>) -> Result<Self, StartError> {
        config.check().map_err(StartError::Config)?;
        metrics::begin();
        let shared = shared(config, (&deps, &deps.capabilities), None)?;
        let connections = Bound::new(shared.config.connections_max);
        let tls = tls(&shared.config, &deps.tasks)?;
        let drained = Drained::new(deps.tasks.shutdown(), &shared.config);
        let (mover, mut workers) = (Mover::new(), Vec::new());
        let (draining, worked) = mpsc::channel(1);
        let hands = listeners::deal(sockets, shared.config.worker_count());
        for (number, sockets) in hands.into_iter().enumerate() {
            let exchanges = spawner::Spawner::default();
            let ends = (exchanges.clone(), drained.clone());
            let proxy = Proxy::new(shared.clone(), identities(&shared.config, &deps), ends);
            let current = Current::new(proxy);
            let worker = Worker {
                number,
                current: current.clone(),
                exchanges,
                tls: tls.as_ref().map(|(tls, _)| tls.clone()),
                streams: spawner::Spawner::default(),
                connections: connections.clone(),
                stages: mover.stages(),
                drained: drained.clone(),
            };
            worker.start(sockets, &deps.tasks, draining.clone()).map_err(StartError::Worker)?;
            workers.push(current);
        }
        let keeper = lease::Keeper {
            holder: format!("gateway-{}.{}", shared.record.id(), uuid::Uuid::now_v7()),
            shared: shared.clone(),
            control: deps.control.clone(),
            drained: worked,
        };
        watch_reversal(&shared, &deps);
        deps.tasks.spawn("gateway lease", OnError::StopProcess, keeper.run(deps.tasks.shutdown()));
        let (shared, certificates) = (Mutex::new(shared), tls.map(|(_, certificates)| certificates));
        Ok(Self { shared, deps, workers, connections, certificates, drained, mover })
    }

    /// The routes of the admin port: `GET /v1/holds` for roles, `/metrics`, `/healthz` and `/readyz`.
    pub fn admin(&self) -> Router {
        let ownership = self.shared().ownership.clone();
        let (leased, drained) = (ownership.clone(), self.drained.clone());
        let ready = get(move || async move { readiness(&leased, &drained) });
        let holds = get(move || async move { Json(ownership.holds()) });
        let open = metrics_route().route("/readyz", ready);
        role_only(Router::new().route("/v1/holds", holds), &self.deps.token).merge(open)
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

    /// Takes other options for requests that begin from now on, and reads the certificates again. The options of
    /// [`crate::config::Config::fixed`] stay as they are, and connections that are open keep their bounds of heads
    /// and idle time.
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
        if let Some(certificates) = &self.certificates {
            certificates.reload().map_err(StartError::Tls)?;
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

/// The monolith and the services.
///
/// # Errors
/// The address of one cannot be used.
pub fn upstreams(
    deps: &Deps,
    capabilities: &[Capability],
) -> Result<(pool::Authority, Vec<pool::Authority>), StartError> {
    let monolith = pool::Authority::of_url(&deps.monolith_url).map_err(StartError::Monolith)?;
    let service = |c: &Capability| {
        pool::Authority::of_url(&c.service).map_err(|fault| StartError::Service(c.name.clone(), fault))
    };
    Ok((monolith, capabilities.iter().map(service).collect::<Result<_, _>>()?))
}

/// What workers share by these options; ownership and places are those of before. Places move last, when
/// nothing can fail any more.
fn shared(
    config: Config,
    (deps, capabilities): (&Deps, &Arc<[Capability]>),
    before: Option<&Shared>,
) -> Result<Arc<Shared>, StartError> {
    let (monolith, services) = upstreams(deps, capabilities)?;
    let ownership = match before {
        Some(before) => before.ownership.clone(),
        None => ownership::Ownership::new(hold_limits(&config)),
    };
    let record = match before {
        Some(before) => before.record.clone(),
        None => Record::open(&deps.data_dir).map_err(|e| StartError::Record(deps.data_dir.clone(), e))?,
    };
    let fresh = |_: &Capability| Acknowledging { reversal: Reversal::new(), degraded: AtomicU64::new(0) };
    let acknowledging = before
        .map_or_else(|| capabilities.iter().map(fresh).collect(), |before| before.acknowledging.clone());
    let tunnels = before.map_or_else(|| tunnel::Places::new(&config), |before| before.tunnels.clone());
    let groups = group::Groups::new(&config, before.map(|b| &b.groups));
    Ok(Arc::new(Shared {
        record,
        acknowledging,
        routes: route::Routes::new(capabilities.clone()),
        labels: Labels::new(&groups, capabilities),
        tunnels,
        token: deps.token.clone(),
        config,
        groups,
        ownership,
        monolith,
        services,
    }))
}

/// Follows what the monolith has of each service's writes.
fn watch_reversal(shared: &Shared, deps: &Deps) {
    for (capability, of) in deps.capabilities.iter().zip(shared.acknowledging.iter()) {
        let watcher = reversal::Watcher {
            reversal: of.reversal.clone(),
            capability: capability.name.clone(),
            dual_write: capability.dual_write,
            sync: deps.sync.clone(),
            record: shared.record.clone(),
        };
        deps.tasks.spawn("gateway reversal", OnError::StopProcess, watcher.run());
    }
}

/// Reads the certificates, and watches their files from now on.
fn tls(config: &Config, tasks: &Tasks) -> Result<Option<(connection::Tls, Arc<Certificates>)>, StartError> {
    let Some(config) = &config.tls else { return Ok(None) };
    let certificates = Certificates::load(config).map_err(StartError::Tls)?;
    let acceptor = certificates.acceptor().map_err(StartError::Tls)?;
    let watch = certificates.clone().watch(Duration::from_millis(config.watch_ms), tasks.shutdown());
    tasks.spawn("certificate watch", OnError::StopProcess, watch);
    let handshake_max = Duration::from_millis(config.handshake_timeout_ms);
    Ok(Some((connection::Tls { acceptor, handshake_max }, certificates)))
}

/// Whether clients should be sent here: not without a lease, and not once shutdown has been requested.
fn readiness(ownership: &ownership::Ownership, drained: &Drained) -> Result<&'static str, Problem> {
    if drained.is_requested() {
        return Err(error::unavailable("draining", "the gateway is shutting down"));
    }
    if !ownership.is_leased() {
        return Err(state::Refusal::NoLease.into());
    }
    Ok("ready\n")
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
