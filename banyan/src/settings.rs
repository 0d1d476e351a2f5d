//! `banyan.toml`: one file for every role. Each section's options are documented in its crate's `config.rs`.

use anyhow::{Context as _, bail};
use banyan_core::Capability;
use banyan_runtime::telemetry::{self, LogFormat};
use banyan_runtime::{config, otlp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The whole file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where databases and secrets are kept.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// The form of log lines.
    #[serde(default)]
    pub log: LogFormat,
    /// Where traces go.
    #[serde(default)]
    pub telemetry: otlp::Config,
    /// What is logged, by target and level, such as `warn,banyan_sync=debug`; `BANYAN_LOG` overrides it.
    #[serde(default = "default_log_filter")]
    pub log_filter: String,
    /// The old system.
    pub monolith: Monolith,
    /// The roles' addresses.
    #[serde(default)]
    pub listen: Listen,
    /// Options of the gateway.
    #[serde(default)]
    pub gateway: banyan_gateway::Config,
    /// Options of control.
    #[serde(default)]
    pub control: banyan_control::Config,
    /// Options of auth.
    #[serde(default)]
    pub auth: banyan_auth::Config,
    /// Options of sync.
    #[serde(default)]
    pub sync: banyan_sync::Config,
    /// Options of notify.
    #[serde(default)]
    pub notify: banyan_notify::Config,
    /// What moves.
    #[serde(rename = "capability", default)]
    pub capabilities: Arc<[Capability]>,
}

fn default_data_dir() -> PathBuf {
    ".banyan".into()
}

fn default_log_filter() -> String {
    "info".into()
}

/// `[monolith]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Monolith {
    /// Base URL, `http://host:port`.
    pub url: String,
    /// `mysql://user:password@host:port/database`.
    pub database: String,
    /// Laravel's `APP_KEY`.
    pub app_key: String,
    /// The name of the session cookie.
    #[serde(default = "default_cookie")]
    pub session_cookie: String,
    /// The sliding lifetime of a session, in minutes.
    #[serde(default = "default_lifetime")]
    pub session_lifetime_minutes: u64,
    /// The IANA time zone of its DATETIME columns.
    #[serde(default = "default_timezone")]
    pub timezone: String,
}

fn default_cookie() -> String {
    "laravel_session".into()
}

fn default_lifetime() -> u64 {
    120
}

fn default_timezone() -> String {
    "UTC".into()
}

/// `[listen]`: where each role listens, and where the others find it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// The gateway, for clients.
    pub gateway: SocketAddr,
    /// Metrics and health of the gateway.
    pub gateway_admin: SocketAddr,
    /// Control.
    pub control: SocketAddr,
    /// Auth.
    pub auth: SocketAddr,
    /// Sync.
    pub sync: SocketAddr,
    /// The notifications service.
    pub notify: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            gateway: at(7100),
            gateway_admin: at(7105),
            control: at(7101),
            auth: at(7102),
            sync: at(7103),
            notify: at(7104),
        }
    }
}

/// Where the running roles are found.
#[derive(Debug, Deserialize)]
pub struct Whereabouts {
    /// As in [`Settings`].
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// As in [`Settings`].
    #[serde(default)]
    pub listen: Listen,
}

impl Settings {
    /// Reads the file and the environment, and checks what types alone cannot.
    ///
    /// # Errors
    /// Names the key, the value and what is allowed. Nothing has been bound or started.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let mut settings: Self = config::load(path, std::env::vars())?;
        if let Ok(filter) = std::env::var(telemetry::FILTER_VARIABLE) {
            settings.log_filter = filter;
        }
        settings.check().with_context(|| format!("{} cannot be used", path.display()))?;
        Ok(settings)
    }

    /// Whereabouts of the running roles, also by a file that cannot be used otherwise.
    ///
    /// # Errors
    /// The file cannot be read at all.
    pub fn whereabouts(path: &Path) -> anyhow::Result<Whereabouts> {
        Ok(config::load(path, std::env::vars())?)
    }

    /// The declared capability of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn capability(&self, name: &str) -> anyhow::Result<&Capability> {
        let found = self.capabilities.iter().find(|c| c.name == name);
        found.with_context(|| format!("the configuration declares no capability `{name}`"))
    }

    fn check(&self) -> anyhow::Result<()> {
        let mut faults: Vec<String> =
            self.capabilities.iter().filter_map(|c| c.check().err()).flatten().collect();
        let sections = [
            ("gateway", self.gateway.check()),
            ("control", self.control.check()),
            ("auth", self.auth.check()),
            ("sync", self.sync.check()),
            ("notify", self.notify.check()),
        ];
        faults.extend(sections.into_iter().filter_map(|(name, c)| Some(format!("[{name}] {}", c.err()?))));
        faults.extend(telemetry::check_filter(&self.log_filter).err());
        let names: BTreeSet<&str> = self.capabilities.iter().map(|c| c.name.as_str()).collect();
        if names.len() != self.capabilities.len() {
            faults.push("two `[[capability]]` have the same `name`".into());
        }
        if !self.monolith.url.starts_with("http://") {
            faults.push(format!("`monolith.url` `{}` must begin with http://", self.monolith.url));
        }
        if !self.monolith.database.starts_with("mysql://") {
            faults.push("`monolith.database` must be mysql://user:password@host:port/database".into());
        }
        if self.monolith.session_lifetime_minutes == 0 {
            faults.push("`monolith.session_lifetime_minutes` must be at least 1".into());
        }
        faults.extend(self.telemetry.check().err().map(|fault| format!("`[telemetry]`: {fault}")));
        if faults.is_empty() { Ok(()) } else { bail!("{}", faults.join("\n  ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::init::TEMPLATE;

    fn check(text: &str) -> Result<Settings, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("banyan.toml");
        std::fs::write(&path, text).unwrap();
        Settings::load(&path).map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn the_file_that_init_writes_is_valid() {
        let settings = check(TEMPLATE).unwrap();
        assert_eq!(settings.capabilities[0].name, "notifications");
        assert_eq!(settings.listen.control.port(), 7101);
    }

    #[test]
    fn an_invalid_value_is_named() {
        for (from, to, named) in [
            ("steps = [1, 10, 50, 100]", "steps = [10, 1]", "`steps` [10, 1]"),
            ("kind = \"page\"", "kind = \"pages\"", "pages"),
            ("url = \"http://", "url = \"https://", "monolith.url"),
            ("[sync]", "[sync]\nspeed = 3", "speed"),
            ("trace_column = \"trace\"", "trace_column = \"tr ace\"", "`trace_column` must be"),
            ("sample_ratio = 1.0", "sample_ratio = 2.0", "`sample_ratio` 2"),
            ("[control]", "[control]\nlease_ms = 1", "[control] `lease_ms` 1"),
            ("log_filter = \"info\"", "log_filter = \"banyan=loud\"", "banyan=loud"),
            (
                "key = \"id\", subject = \"user_id\"",
                "key = \"id`\", subject = \"user_id\"",
                "SQL identifiers",
            ),
        ] {
            let error = check(&TEMPLATE.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(named), "{to}: {error}");
        }
    }
}
