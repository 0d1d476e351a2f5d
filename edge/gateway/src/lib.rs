//! The gateway: every client's request goes through it, to the monolith or to the service that owns its data.
//!
//! Map: [`config`] the options; `worker` threads and what they accept; `connection`, `stream`, `tls` and
//! `http2` clients' connections, `pulse` and `paced` what goes on in them, `tunnel` what becomes of one that
//! changes its protocol, `drained` when they end; `guard` and `framing` what may pass
//! as a request; `proxy` one request; `path`, `route`, `group`, `resolve` and `fields` what it is; `identity`
//! whose it is; `capability` what becomes of one of a capability; `acknowledge`, `record` and `reversal` when its answer may leave; `state` the pure decisions on ownership,
//! `ownership` their shell, `lease` how the table comes; `pool`, `exchange` and `body` the way to an upstream
//! and back; `headers` what is told on the way; `access` and `metrics` what is noted; `expired`
//! and `error` what the gateway answers itself; `running`, `stage`, `listeners` and `bound` what changes while it
//! runs: its options, who accepts, its sockets, its limits.
//!
//! Invariants: capability requests are routed only by a table with a valid lease; a write goes only to the
//! owner of a steady bucket and is held otherwise, within bounds; a write that was sent is never sent again;
//! a request has one framing or is refused; what does not belong to a capability passes untouched.

mod access;
mod acknowledge;
mod body;
mod bound;
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
mod listeners;
mod metrics;
pub mod network;
mod ownership;
mod paced;
mod path;
mod pool;
mod proxy;
mod pulse;
mod record;
mod resolve;
mod reversal;
mod route;
mod running;
mod spawner;
mod stage;
mod state;
mod stream;
mod tls;
mod tunnel;
mod worker;

use axum::Router;
use banyan_core::Capability;
use banyan_runtime::client::RoleClient;
use banyan_runtime::secrets::RoleToken;
use banyan_runtime::tasks::Tasks;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

pub use config::Config;
pub use error::StartError;
pub use running::Gateway;

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
    /// sync, which knows what the monolith has of the services.
    pub sync: RoleClient,
    /// The folder of the record of acknowledged writes; made where it is missing.
    pub data_dir: PathBuf,
    /// The supervisor of the workers and of the lease.
    pub tasks: Tasks,
    /// The token that roles show each other.
    pub token: RoleToken,
}

/// Binds the port for clients, starts the workers and the lease, accepts, and returns the routes of the admin
/// port: `GET /v1/holds` for roles, `/metrics`, `/healthz` and `/readyz`. Requests of capabilities are answered
/// 503 until control has granted a lease.
///
/// # Errors
/// An option or an address that cannot work, a port that is taken, no threads.
pub async fn start(config: Config, deps: Deps) -> Result<Router, StartError> {
    config.check().map_err(StartError::Config)?;
    running::upstreams(&deps, &deps.capabilities)?;
    let listeners = listen(deps.listen, &config, Vec::new())?;
    let gateway = Gateway::prepare(config, deps, listeners)?;
    gateway.accept();
    Ok(gateway.admin())
}

/// The sockets for clients: those of this address that another process handed over, and more where there are
/// fewer than workers.
///
/// # Errors
/// The port is taken by another.
pub fn listen(
    address: SocketAddr,
    config: &Config,
    handed: Vec<TcpListener>,
) -> Result<Vec<TcpListener>, StartError> {
    let of_address = |l: &TcpListener| l.local_addr().is_ok_and(|at| at == address);
    let handed = handed.into_iter().filter(of_address).collect();
    listeners::bind(address, config.worker_count(), handed).map_err(|e| StartError::Listen(address, e))
}
