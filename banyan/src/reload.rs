//! Reads the configuration again while the process runs: `POST /v1/reload` with the role token, or SIGHUP.
//!
//! The file is checked wholly before anything changes; one that cannot be used changes nothing. What cannot
//! change while the process runs is named in the answer and in the log.

use crate::changes;
use crate::cli::Role;
use crate::settings::Settings;
use axum::routing::post;
use axum::{Json, Router, http::StatusCode};
use banyan_gateway::Gateway;
use banyan_runtime::http::{Problem, role_only};
use banyan_runtime::secrets::RoleToken;
use banyan_runtime::telemetry;
use prometheus::{IntCounterVec, register_int_counter_vec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

/// The path of the route.
pub const PATH: &str = "/v1/reload";

static RELOADS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "banyan_reloads_total",
        "Times the configuration was read again, by outcome: applied, unchanged, refused",
        &["outcome"]
    )
    .expect("a metric of a unique name is registered once")
});

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Keys whose new values are in force.
    pub applied: BTreeSet<String>,
    /// Keys that differ from the running process's and need another process.
    pub pending: BTreeSet<String>,
    /// Keys that differ and belong to roles of other processes.
    pub elsewhere: BTreeSet<String>,
}

/// The configuration of a running process.
pub struct Reloader {
    path: PathBuf,
    roles: Vec<Role>,
    running: Mutex<Settings>,
    gateway: OnceLock<Arc<Gateway>>,
}

impl Reloader {
    /// The process runs these roles by these settings, which came from this file.
    pub fn new(path: PathBuf, settings: Settings, roles: &[Role]) -> Arc<Self> {
        // So that a scrape finds them before the first reload.
        for outcome in ["applied", "unchanged", "refused"] {
            RELOADS.with_label_values(&[outcome]);
        }
        let (running, gateway) = (Mutex::new(settings), OnceLock::new());
        Arc::new(Self { path, roles: roles.to_vec(), running, gateway })
    }

    /// This is the process's gateway.
    pub fn serves(&self, gateway: Arc<Gateway>) {
        // A process has one gateway.
        let _ = self.gateway.set(gateway);
    }

    /// The settings in force.
    pub fn settings(&self) -> Settings {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `POST /v1/reload` for roles.
    pub fn router(self: &Arc<Self>, token: &RoleToken) -> Router {
        let reloader = Arc::clone(self);
        let route = post(move || async move {
            let refused = |fault| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "configuration", fault);
            reloader.reload().map(Json).map_err(refused)
        });
        role_only(Router::new().route(PATH, route), token)
    }

    /// Reads the file again and takes over what can be.
    ///
    /// # Errors
    /// The file cannot be used; says why. Nothing has changed.
    pub fn reload(&self) -> Result<Report, String> {
        let outcome = self.take_over();
        let (label, list) = match &outcome {
            Ok(report) if report.applied.is_empty() => ("unchanged", &report.pending),
            Ok(report) => ("applied", &report.pending),
            Err(_) => ("refused", &BTreeSet::new()),
        };
        RELOADS.with_label_values(&[label]).inc();
        match &outcome {
            Ok(Report { applied, elsewhere, .. }) => {
                tracing::info!(?applied, pending = ?list, ?elsewhere, "the configuration was read again");
            }
            Err(fault) => tracing::error!(fault, "the configuration was not read again; nothing has changed"),
        }
        outcome
    }

    fn take_over(&self) -> Result<Report, String> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let file = Settings::load(&self.path).map_err(|e| format!("{e:#}"))?;
        let next = changes::adopt(&running, &file, &self.roles);
        let between = |a, b| changes::between(a, b).map_err(|e| e.to_string());
        let (mut applied, pending) = (between(&*running, &next)?, between(&next, &file)?);
        let elsewhere = applied.extract_if(.., |key| self.is_elsewhere(key)).collect();
        if let Some(gateway) = self.gateway.get() {
            gateway.reload(next.gateway.clone(), &next.capabilities).map_err(|e| e.to_string())?;
        }
        telemetry::set_filter(&next.log_filter)?;
        *running = next;
        Ok(Report { applied, pending, elsewhere })
    }

    /// Whether a key is of the section of a role that this process does not run.
    fn is_elsewhere(&self, key: &str) -> bool {
        let section = key.split('.').next().unwrap_or_default();
        Role::ALL.iter().any(|role| role.name() == section && !self.roles.contains(role))
    }
}
