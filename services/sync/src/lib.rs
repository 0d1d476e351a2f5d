//! sync: the monolith's database on one side, the services on the other.
//!
//! Map: [`config`] the options; `capture` what is shared for one capability; `database` connections;
//! `schema` and `literal` the mapping of values; `own` Banyan's tables in the monolith; `binlog` whole
//! transactions; `forward` to the service, with `copy` in the same stream; `reverse` the outbox back;
//! `heartbeat`, `marks`, `status` how the streams stand; `fence` gates, guards and triggers; `blocks` ids;
//! `verify` both sides compared; `conflicts` what came too late; [`preflight`] what the database needs; `api` the routes.
//!
//! Invariants: a position and its effect are one transaction, in both directions; what is not understood
//! stops a stream and is said, never skipped; gates are never waited for in a lock queue; a fence command
//! whose turn is not the newest changes nothing.

mod api;
mod binlog;
mod blocks;
mod capture;
pub mod config;
mod conflicts;
mod copy;
mod database;
mod error;
mod fence;
mod forward;
mod heartbeat;
mod literal;
mod marks;
mod metrics;
mod own;
mod pages;
pub mod preflight;
mod reverse;
mod schema;
mod status;
mod verify;

use axum::Router;
use banyan_core::Capability;
use banyan_runtime::client::RoleClient;
use banyan_runtime::secrets::RoleToken;
use banyan_runtime::tasks::{OnError, Tasks};
use capture::Capture;
use database::Database;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use config::Config;
pub use error::StartError;

/// What sync is given by the process that hosts it.
#[derive(Clone)]
pub struct Deps {
    /// The monolith's database, such as `mysql://banyan:secret@127.0.0.1:3306/shop`.
    pub database_url: String,
    /// The zone in which the monolith writes its DATETIME columns. Sync carries them as they stand.
    pub timezone: String,
    /// The declared capabilities.
    pub capabilities: Arc<[Capability]>,
    /// The service of each capability, by its name.
    pub services: BTreeMap<String, RoleClient>,
    /// The supervisor of the streams.
    pub tasks: Tasks,
    /// The token that other roles show.
    pub token: RoleToken,
}

/// Checks the configuration, starts the streams of every capability, and returns the routes. Sync starts
/// also while the database or a service is down; its status then says so.
///
/// # Errors
/// A configuration that cannot work, or a capability without a service.
pub async fn start(config: Config, deps: Deps) -> Result<Router, StartError> {
    config.check().map_err(StartError::Config)?;
    let database = Database::new(&deps.database_url, &config).map_err(StartError::DatabaseUrl)?;
    let config = Arc::new(config);
    let mut captures = BTreeMap::new();
    for (server_id, capability) in (config.server_id..).zip(deps.capabilities.iter()) {
        let service = deps.services.get(&capability.name);
        let service = service.ok_or_else(|| StartError::NoService(capability.name.clone()))?.clone();
        let capture = Capture::new(capability.clone(), (&database, service), &config, server_id);
        captures.insert(capability.name.clone(), Arc::new(capture));
    }
    metrics::begin();
    for capture in captures.values() {
        tracing::info!(capability = capture.capability.name, timezone = deps.timezone, "sync starts");
        spawn(&deps.tasks, capture);
    }
    Ok(api::router(api::Captures(Arc::new(captures)), &deps.token))
}

/// The streams end at shutdown between two steps; whatever was under way begins anew at the next start.
fn spawn(tasks: &Tasks, capture: &Arc<Capture>) {
    let of = || (Arc::clone(capture), tasks.shutdown());
    let (forward, copy, reverse, heartbeat) = (of(), of(), of(), of());
    tasks.spawn("sync forward", OnError::StopProcess, forward::run(forward.0, forward.1));
    tasks.spawn("sync copy", OnError::StopProcess, copy::run(copy.0, copy.1));
    tasks.spawn("sync reverse", OnError::StopProcess, reverse::run(reverse.0, reverse.1));
    tasks.spawn("sync heartbeat", OnError::StopProcess, heartbeat::run(heartbeat.0, heartbeat.1));
}
