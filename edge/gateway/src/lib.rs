//! The gateway: every client's request goes through it, to the monolith or to the service that owns its data.
//!
//! Map: [`config`] the options; `worker` threads and what they accept; `connection`, `stream`, `tls` and
//! `http2` clients' connections, `pulse` and `paced` what goes on in them, `tunnel` what becomes of one that
//! changes its protocol, `drained` when they end; `guard` and `framing` what may pass
//! as a request; `proxy` one request; `path`, `route`, `group`, `resolve` and `fields` what it is; `identity`
//! whose it is; `capability` what becomes of one of a capability; `state` the pure decisions on ownership,
//! `ownership` their shell, `lease` how the table comes; `pool`, `exchange` and `body` the way to an upstream
//! and back; `headers` and `trace` what is told on the way; `access` and `metrics` what is noted; `expired`
//! and `error` what the gateway answers itself.
//!
//! Invariants: capability requests are routed only by a table with a valid lease; a write goes only to the
//! owner of a steady bucket and is held otherwise, within bounds; a write that was sent is never sent again;
//! a request has one framing or is refused; what does not belong to a capability passes untouched.

mod access;
mod body;
mod capability;
pub mod config;
mod connection;
mod drained;
mod error;
mod exchange;
mod expired;
mod fields;
mod framing;
mod group;
mod guard;
mod headers;
mod http2;
mod identity;
mod lease;
mod metrics;
pub mod network;
mod ownership;
mod paced;
mod path;
mod pool;
mod proxy;
mod pulse;
mod resolve;
mod route;
mod spawner;
mod state;
mod stream;
mod tls;
mod trace;
mod tunnel;
mod worker;

use axum::routing::get;
use axum::{Json, Router};
use banyan_core::Capability;
use banyan_runtime::client::RoleClient;
use banyan_runtime::http::{Problem, metrics_route, role_only};
use banyan_runtime::secrets::RoleToken;
use banyan_runtime::tasks::{OnError, Tasks};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

pub use config::Config;
pub use error::StartError;
pub use tls::LoadError;

/// What the gateway is given by the process that hosts it.
#[derive(Clone)]
pub struct Deps {
    /// The address for clients.
    pub listen: SocketAddr,
    /// Where the monolith answers, such as `http://127.0.0.1:8000`.
    pub monolith_url: String,
    /// The name of the monolith's session cookie.
    pub session_cookie: String,
    /// The declared capabilities.
    pub capabilities: Arc<[Capability]>,
    /// auth.
    pub auth: RoleClient,
    /// control.
    pub control: RoleClient,
    /// The supervisor of the workers and of the lease.
    pub tasks: Tasks,
    /// The token that roles show each other.
    pub token: RoleToken,
}

/// Binds the port for clients, starts the workers and the lease, and returns the routes of the admin port:
/// `GET /v1/holds` for roles, `/metrics`, `/healthz` and `/readyz`. Requests of capabilities are answered 503 until
/// control has granted a lease.
///
/// # Errors
/// An option or an address that cannot work, a port that is taken, no threads.
pub async fn start(config: Config, deps: Deps) -> Result<Router, StartError> {
    config.check().map_err(StartError::Config)?;
    let shared = shared(config, &deps)?;
    let count = shared.config.worker_count();
    let listeners = worker::bind(deps.listen, count).map_err(|e| StartError::Listen(deps.listen, e))?;
    let connections = Arc::new(Semaphore::new(shared.config.connections_max));
    let tls = tls(&shared.config, &deps.tasks)?;
    let drained = drained::Drained::new(deps.tasks.shutdown(), &shared.config);
    let (draining, worked) = mpsc::channel(1);
    for (number, listener) in listeners.into_iter().enumerate() {
        let exchanges = spawner::Spawner::default();
        let identities = identities(&shared.config, &deps);
        let ends = (exchanges.clone(), drained.clone());
        let proxy = proxy::Proxy::new(shared.clone(), identities, ends);
        let (connections, drained) = (connections.clone(), drained.clone());
        let (tls, streams) = (tls.clone(), spawner::Spawner::default());
        let worker = worker::Worker { number, proxy, exchanges, tls, streams, connections, drained };
        worker.start(listener, &deps.tasks, draining.clone()).map_err(StartError::Worker)?;
    }
    let keeper = lease::Keeper {
        holder: format!("gateway-{}", uuid::Uuid::now_v7()),
        control: deps.control.clone(),
        ownership: shared.ownership.clone(),
        routes: shared.routes.clone(),
        drained: worked,
    };
    deps.tasks.spawn("gateway lease", OnError::StopProcess, keeper.run(deps.tasks.shutdown()));
    Ok(admin(shared.ownership.clone(), drained, &deps.token))
}

/// Reads the certificates, and watches their files from now on.
fn tls(config: &Config, tasks: &Tasks) -> Result<Option<connection::Tls>, StartError> {
    let Some(config) = &config.tls else { return Ok(None) };
    let certificates = tls::Certificates::load(config).map_err(StartError::Tls)?;
    let acceptor = certificates.acceptor().map_err(StartError::Tls)?;
    let watch = certificates.watch(Duration::from_millis(config.watch_ms), tasks.shutdown());
    tasks.spawn("certificate watch", OnError::StopProcess, watch);
    let handshake_max = Duration::from_millis(config.handshake_timeout_ms);
    Ok(Some(connection::Tls { acceptor, handshake_max }))
}

fn shared(config: Config, deps: &Deps) -> Result<Arc<proxy::Shared>, StartError> {
    let monolith = pool::Authority::of_url(&deps.monolith_url).map_err(StartError::Monolith)?;
    let service = |c: &Capability| {
        pool::Authority::of_url(&c.service).map_err(|fault| StartError::Service(c.name.clone(), fault))
    };
    let services = deps.capabilities.iter().map(service).collect::<Result<_, _>>()?;
    let groups = group::Groups::new(&config);
    let ownership = ownership::Ownership::new(state::Limits {
        hold_max: Duration::from_millis(config.hold_ms_max),
        requests_max: config.hold_requests_max,
        bytes_max: config.hold_bytes_max,
    });
    Ok(Arc::new(proxy::Shared {
        routes: route::Routes::new(deps.capabilities.clone()),
        labels: proxy::Labels::new(&groups, &deps.capabilities),
        tunnels: tunnel::Places::new(&config),
        token: deps.token.clone(),
        config,
        groups,
        ownership,
        monolith,
        services,
    }))
}

/// Each worker has connections of its own: they live on its runtime.
fn identities(config: &Config, deps: &Deps) -> identity::Identities {
    let timeout = Duration::from_millis(config.identity_timeout_ms);
    let auth = RoleClient::new(deps.auth.base_url(), deps.token.clone()).timeout(timeout);
    identity::Identities::new(auth, deps.session_cookie.clone(), config.identities_max)
}

fn admin(ownership: Arc<ownership::Ownership>, drained: drained::Drained, token: &RoleToken) -> Router {
    let leased = ownership.clone();
    let ready = get(move || async move { readiness(&leased, &drained) });
    let holds = get(move || async move { Json(ownership.holds()) });
    let open = metrics_route().route("/readyz", ready);
    role_only(Router::new().route("/v1/holds", holds), token).merge(open)
}

/// Whether clients should be sent here: not without a lease, and not once shutdown has been requested.
fn readiness(ownership: &ownership::Ownership, drained: &drained::Drained) -> Result<&'static str, Problem> {
    if drained.is_requested() {
        return Err(error::unavailable("draining", "the gateway is shutting down"));
    }
    if !ownership.is_leased() {
        return Err(state::Refusal::NoLease.into());
    }
    Ok("ready\n")
}
