//! control: who owns which bucket, the leases by which gateways and services know it, the handovers that
//! change it, and the audit of who wished what.
//!
//! Map: [`config`] the options; `api` the routes; `coordinator` the pure handover; `driver` what executes its
//! effects; `peers` its calls; `journal` what must not be forgotten; `lease` and `grants` the leases; `metrics`;
//! `error`.
//!
//! Invariants: an owner changes in one commit of the journal, after everything up to the watermark has been
//! applied on the other side; no step is taken for a full lease after a start; gateways are told of a commit
//! only when it is durable. Where the journal cannot be written, handovers stop and routing goes on.

mod api;
pub mod config;
mod coordinator;
mod driver;
mod error;
mod grants;
mod journal;
mod lease;
mod metrics;
mod peers;

use axum::Router;
use banyan_core::Capability;
use banyan_runtime::client::RoleClient;
use banyan_runtime::clock::Boot;
use banyan_runtime::secrets::RoleToken;
use banyan_runtime::tasks::{OnError, Tasks};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use config::Config;
pub use error::StartError;

use coordinator::limits::Limits;
use driver::{Driver, Parts};
use grants::Grants;
use journal::{Journal, Opened};
use lease::LeaseTerms;
use peers::Peers;

/// What control is given by the process that hosts it.
#[derive(Clone)]
pub struct Deps {
    /// The folder of the journal, `control.db`; made where it is missing.
    pub data_dir: PathBuf,
    /// The declared capabilities.
    pub capabilities: Arc<[Capability]>,
    /// Sync, which sets fences and carries the streams.
    pub sync: RoleClient,
    /// The services by capability.
    pub services: BTreeMap<String, RoleClient>,
    /// The supervisor of the coordinators.
    pub tasks: Tasks,
    /// The token that other roles show.
    pub token: RoleToken,
}

/// Opens the journal, starts a coordinator per capability, and returns the routes. Leases are granted at
/// once; handovers begin when every lease of before the start has expired.
///
/// # Errors
/// A configuration that cannot work, or a journal that cannot be used.
pub async fn start(config: Config, deps: Deps) -> Result<Router, StartError> {
    config.check().map_err(StartError::Config)?;
    let opened = open(&config, &deps).await?;
    let (lease, margin) =
        (Duration::from_millis(config.lease_ms), Duration::from_millis(config.lease_margin_ms));
    let grants =
        Grants::new(LeaseTerms { lease, margin, holders_max: config.leases_max }, opened.gateways.clone());
    let leases_until = Boot::now().plus(Duration::from_millis(opened.lease_ms) + margin);
    let mut coordinators = BTreeMap::new();
    for capability in deps.capabilities.iter() {
        let name = &capability.name;
        let service = deps.services.get(name).cloned();
        let parts = Parts {
            journal: opened.journal.clone(),
            grants: grants.clone(),
            peers: Peers {
                capability: name.clone(),
                sync: deps.sync.clone(),
                service: service.ok_or_else(|| StartError::NoService(name.clone()))?,
                call_max: Duration::from_millis(config.call_ms_max),
            },
            shutdown: deps.tasks.shutdown(),
        };
        let (durable, newest) = opened.capabilities[name].clone();
        let start = coordinator::Start {
            capability: name.clone(),
            team: capability.owner.clone(),
            steps: capability.steps.clone(),
            limits: Limits::from(&config),
            term: opened.term,
            durable,
            version: opened.version,
            newest,
            leases_until,
        };
        let (driver, handle) = Driver::new(start, parts);
        deps.tasks.spawn("handover coordinator", OnError::StopProcess, driver.run());
        coordinators.insert(name.clone(), handle);
    }
    metrics::version(opened.version);
    let control = api::Control {
        coordinators,
        journal: opened.journal,
        grants,
        lease,
        wait_max: Duration::from_millis(config.wait_ms_max),
        shutdown: deps.tasks.shutdown(),
    };
    Ok(api::router(control, &deps.token))
}

async fn open(config: &Config, deps: &Deps) -> Result<Opened, StartError> {
    let folder = deps.data_dir.clone();
    let path = folder.join("control.db");
    let (names, config) =
        (deps.capabilities.iter().map(|c| c.name.clone()).collect::<Vec<_>>(), config.clone());
    let (at, failed_at) = (path.clone(), path);
    let opened = tokio::task::spawn_blocking(move || open_blocking(&folder, &at, (&names, &config))).await;
    opened.unwrap_or_else(|_| Err(StartError::Journal(failed_at, journal::Fault::Closed)))
}

fn open_blocking(
    folder: &Path,
    path: &Path,
    (capabilities, config): (&[String], &Config),
) -> Result<Opened, StartError> {
    std::fs::create_dir_all(folder).map_err(|e| StartError::Folder(folder.into(), e))?;
    let open = journal::Open {
        path,
        capabilities,
        lease_ms: config.lease_ms,
        handovers_kept_max: config.handovers_kept_max,
    };
    Journal::open(&open).map_err(|e| StartError::Journal(path.into(), e))
}
