//! Wires the roles: hands each one its dependencies.

use crate::cli::Role;
use crate::settings::{Listen, Settings, Whereabouts};
use anyhow::{Context as _, bail};
use axum::Router;
use banyan_gateway::Gateway;
use banyan_runtime::client::RoleClient;
use banyan_runtime::secrets::RoleToken;
use banyan_runtime::tasks::Tasks;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
        let path = token_path(&settings.data_dir);
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
        self.client(address(&self.settings.listen, role))
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

    /// The token that its roles show each other.
    pub fn token(&self) -> &RoleToken {
        &self.token
    }

    fn client(&self, address: SocketAddr) -> RoleClient {
        RoleClient::new(&format!("http://{address}"), self.token.clone())
    }

    fn data(&self, file: &str) -> PathBuf {
        self.settings.data_dir.join(file)
    }
}

/// Where a running gateway is asked for its sockets.
pub fn door(data_dir: &Path) -> PathBuf {
    data_dir.join("gateway.sock")
}

/// A client of a role of the running installation.
///
/// # Errors
/// There is no token: nothing has ever run with this data folder.
pub fn running(at: &Whereabouts, role: Role) -> anyhow::Result<RoleClient> {
    let path = token_path(&at.data_dir);
    if !path.exists() {
        bail!("{} is missing: nothing runs with this data folder", path.display());
    }
    let token = RoleToken::load_or_create(&path)?;
    Ok(RoleClient::new(&format!("http://{}", address(&at.listen, role)), token))
}

fn token_path(data_dir: &Path) -> PathBuf {
    data_dir.join("secrets/role.key")
}

/// Where a role listens for other roles and the command line.
pub fn address(listen: &Listen, role: Role) -> SocketAddr {
    match role {
        Role::Gateway => listen.gateway_admin,
        Role::Control => listen.control,
        Role::Auth => listen.auth,
        Role::Sync => listen.sync,
        Role::Notify => listen.notify,
    }
}

/// Starts a role; its routes. The gateway is started by [`gateway`].
///
/// # Errors
/// It cannot start.
pub async fn start(installation: &Installation, role: Role, tasks: &Tasks) -> anyhow::Result<Router> {
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
        Role::Gateway => bail!("the gateway has sockets of its own"),
    })
}

/// Prepares the gateway on these sockets for clients, and more where they are too few; also gives them back.
///
/// # Errors
/// A port is taken, an option cannot work.
pub fn gateway(
    installation: &Installation,
    tasks: &Tasks,
    handed: Vec<TcpListener>,
) -> anyhow::Result<(Gateway, Vec<TcpListener>)> {
    let settings = &installation.settings;
    let sockets = banyan_gateway::listen(settings.listen.gateway, &settings.gateway, handed)?;
    let kept = sockets.iter().map(TcpListener::try_clone).collect::<Result<_, _>>()?;
    let deps = banyan_gateway::Deps {
        listen: settings.listen.gateway,
        monolith_url: settings.monolith.url.clone(),
        session_cookie: settings.monolith.session_cookie.clone(),
        capabilities: Arc::clone(&settings.capabilities),
        auth: installation.client(settings.listen.auth),
        control: installation.control(),
        sync: installation.sync(),
        data_dir: settings.data_dir.clone(),
        tasks: tasks.clone(),
        token: installation.token.clone(),
    };
    Ok((Gateway::prepare(settings.gateway.clone(), deps, sockets)?, kept))
}
