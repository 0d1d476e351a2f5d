//! Wires the roles: opens each one's listener, hands it its dependencies, serves until a signal.

use crate::cli::Role;
use crate::settings::Settings;
use anyhow::{Context as _, bail};
use axum::Router;
use banyan_runtime::client::RoleClient;
use banyan_runtime::http;
use banyan_runtime::secrets::RoleToken;
use banyan_runtime::tasks::{OnError, Tasks};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// How long a shutdown may take before what still runs is aborted.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(20);

/// What the gateway may need beyond its own deadlines.
const DRAINED_SPARE: Duration = Duration::from_secs(5);

/// The capability that the notifications service takes over.
const NOTIFY_CAPABILITY: &str = "notifications";

/// One installation: its settings and the secret that its roles share.
pub struct Installation {
    settings: Settings,
    token: RoleToken,
}

impl Installation {
    /// Opens the installation; makes its role token at first use.
    ///
    /// # Errors
    /// The data folder cannot be used.
    pub fn open(settings: Settings) -> anyhow::Result<Self> {
        let path = settings.data_dir.join("secrets/role.key");
        let token =
            RoleToken::load_or_create(&path).with_context(|| format!("role token {}", path.display()))?;
        Ok(Self { settings, token })
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A client of control.
    pub fn control(&self) -> RoleClient {
        self.client(self.settings.listen.control)
    }

    /// A client of sync.
    pub fn sync(&self) -> RoleClient {
        self.client(self.settings.listen.sync)
    }

    /// A client of the port on which a role is administered.
    pub fn role(&self, role: Role) -> RoleClient {
        self.client(address(self, role))
    }

    /// A client of the service of a capability.
    ///
    /// # Errors
    /// The capability is not declared.
    pub fn service(&self, capability: &str) -> anyhow::Result<RoleClient> {
        Ok(RoleClient::new(&self.settings.capability(capability)?.service, self.token.clone()))
    }

    fn services(&self) -> BTreeMap<String, RoleClient> {
        let client = |url: &str| RoleClient::new(url, self.token.clone());
        self.settings.capabilities.iter().map(|c| (c.name.clone(), client(&c.service))).collect()
    }

    fn client(&self, address: SocketAddr) -> RoleClient {
        RoleClient::new(&format!("http://{address}"), self.token.clone())
    }

    fn data(&self, file: &str) -> PathBuf {
        self.settings.data_dir.join(file)
    }
}

/// Runs the roles until SIGINT, SIGTERM, or the failure of a task that the process cannot do without.
///
/// # Errors
/// A role cannot start, or such a task failed.
pub async fn serve(installation: &Installation, roles: &[Role]) -> anyhow::Result<()> {
    // The gateway drains while everything that it needs still runs, and while its readiness can be asked for.
    let (edge, tasks) = (Tasks::new(), Tasks::new());
    // Listeners first: a port that is taken fails before anything has begun.
    let mut listeners = Vec::new();
    for role in roles {
        let address = address(installation, *role);
        let listener = TcpListener::bind(address).await;
        listeners
            .push((*role, listener.with_context(|| format!("cannot listen on {address} for {role:?}"))?));
    }
    for (role, listener) in listeners {
        let owner = if role == Role::Gateway { &edge } else { &tasks };
        let router =
            start(installation, role, owner).await.with_context(|| format!("cannot start {role:?}"))?;
        tracing::info!(role = ?role, address = %listener.local_addr()?, "ready");
        tasks.spawn("http server", OnError::StopProcess, http::serve(listener, router, tasks.shutdown()));
    }
    until_signal(&edge, &tasks).await?;
    edge.stop(drain_deadline(installation)).await;
    tasks.stop(SHUTDOWN_DEADLINE).await;
    match edge.failure().or(tasks.failure()) {
        Some(failure) => bail!("stopped: {failure}"),
        None => Ok(()),
    }
}

fn drain_deadline(installation: &Installation) -> Duration {
    let gateway = &installation.settings.gateway;
    Duration::from_millis(gateway.drain_notice_ms + gateway.drain_ms_max) + DRAINED_SPARE
}

fn address(installation: &Installation, role: Role) -> SocketAddr {
    let listen = &installation.settings.listen;
    match role {
        Role::Gateway => listen.gateway_admin,
        Role::Control => listen.control,
        Role::Auth => listen.auth,
        Role::Sync => listen.sync,
        Role::Notify => listen.notify,
    }
}

async fn start(installation: &Installation, role: Role, tasks: &Tasks) -> anyhow::Result<Router> {
    let settings = &installation.settings;
    let monolith = &settings.monolith;
    let capabilities = Arc::clone(&settings.capabilities);
    let (tasks, token) = (tasks.clone(), installation.token.clone());
    Ok(match role {
        Role::Control => {
            let (data_dir, sync) = (settings.data_dir.clone(), installation.sync());
            let services = installation.services();
            let deps = banyan_control::Deps { data_dir, capabilities, sync, services, tasks, token };
            banyan_control::start(settings.control.clone(), deps).await?
        }
        Role::Auth => {
            let deps = banyan_auth::Deps {
                data_dir: installation.data("secrets"),
                database_url: monolith.database.clone(),
                app_key: monolith.app_key.clone(),
                session_cookie: monolith.session_cookie.clone(),
                session_lifetime_minutes: monolith.session_lifetime_minutes,
                capabilities,
                tasks,
                token,
            };
            banyan_auth::start(settings.auth.clone(), deps).await?
        }
        Role::Sync => {
            let (database_url, timezone) = (monolith.database.clone(), monolith.timezone.clone());
            let services = installation.services();
            let deps = banyan_sync::Deps { database_url, timezone, capabilities, services, tasks, token };
            banyan_sync::start(settings.sync.clone(), deps).await?
        }
        Role::Notify => {
            let deps = banyan_notify::Deps {
                data_dir: settings.data_dir.clone(),
                capability: settings.capability(NOTIFY_CAPABILITY)?.clone(),
                app_key: monolith.app_key.clone(),
                timezone: monolith.timezone.clone(),
                auth: installation.client(settings.listen.auth),
                control: installation.control(),
                sync: installation.sync(),
                tasks,
                token,
            };
            banyan_notify::start(settings.notify.clone(), deps).await?
        }
        Role::Gateway => {
            let deps = banyan_gateway::Deps {
                listen: settings.listen.gateway,
                monolith_url: monolith.url.clone(),
                session_cookie: monolith.session_cookie.clone(),
                capabilities,
                auth: installation.client(settings.listen.auth),
                control: installation.control(),
                tasks,
                token,
            };
            banyan_gateway::start(settings.gateway.clone(), deps).await?
        }
    })
}

async fn until_signal(edge: &Tasks, tasks: &Tasks) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let (edge, shutdown) = (edge.shutdown(), tasks.shutdown());
    tokio::select! {
        _ = terminate.recv() => {}
        outcome = tokio::signal::ctrl_c() => outcome?,
        () = edge.requested() => {}
        () = shutdown.requested() => {}
    }
    Ok(())
}
