//! auth: who a request is, read from the monolith's sessions, and the internal token that says so.
//!
//! Map: [`config`] the options; `api` the routes; `identity` the decision; `cookie`, `envelope`, `session`,
//! `unserialize` and `base64_lenient` from a `Cookie` header to a session; `touch` sliding expiry; `csrf`
//! Laravel's check; `token` the internal JWT; `lookup` from a value to a subject; `database` the bounded pool;
//! `metrics`; `error`.
//!
//! Invariants: a session is read and touched, never made and never revived; nothing that a client sends
//! makes an error: what Laravel would not accept is a guest; a failing database is never read as a guest.
//! Raw session ids leave this crate neither in tokens nor in logs.

mod api;
mod base64_lenient;
pub mod config;
mod cookie;
mod csrf;
mod database;
mod envelope;
mod error;
mod identity;
mod lookup;
mod metrics;
mod session;
mod token;
mod touch;
mod unserialize;

use axum::Router;
use banyan_core::Capability;
use banyan_core::capability::SubjectSource;
use banyan_runtime::secrets::RoleToken;
use banyan_runtime::tasks::Tasks;
use std::path::PathBuf;
use std::sync::Arc;

pub use config::Config;
pub use error::StartError;

/// What auth is given by the process that hosts it.
#[derive(Clone)]
pub struct Deps {
    /// The folder of the signing key `auth.key`; made where it is missing.
    pub data_dir: PathBuf,
    /// The monolith's database, such as `mysql://banyan:secret@127.0.0.1:3306/shop`.
    pub database_url: String,
    /// Laravel's `APP_KEY`, with or without the prefix `base64:`.
    pub app_key: String,
    /// The name of Laravel's session cookie (`session.cookie`).
    pub session_cookie: String,
    /// Laravel's `session.lifetime`, in minutes.
    pub session_lifetime_minutes: u64,
    /// The declared capabilities: the only audiences of tokens, and the users of lookups.
    pub capabilities: Arc<[Capability]>,
    /// The supervisor of the one background task, which touches sessions.
    pub tasks: Tasks,
    /// The token that other roles show.
    pub token: RoleToken,
}

/// Checks the configuration, reads or makes the signing key, and returns the routes. The database is
/// reached at the first request: auth starts also while the monolith's database is down.
///
/// # Errors
/// A configuration that cannot work, or a signing key that cannot be read or made.
pub async fn start(config: Config, deps: Deps) -> Result<Router, StartError> {
    config.check().map_err(StartError::Config)?;
    check_lookups(&config, &deps.capabilities)?;
    let app_key = envelope::AppKey::parse(&deps.app_key).map_err(StartError::AppKey)?;
    let database = database::Database::new(&deps.database_url, &config)?;
    let key_file = deps.data_dir.join("auth.key");
    let signer = token::Signer::load(&key_file, config.token_lifetime_s)
        .map_err(|cause| StartError::SigningKey(key_file, cause))?;
    let sessions = session::Sessions::new(database.clone(), &config, deps.session_lifetime_minutes);
    let toucher = touch::Toucher::start(database.clone(), &config, &deps.tasks);
    let identities = identity::Identities {
        sessions,
        toucher,
        app_key,
        signer,
        session_cookie: deps.session_cookie,
        audiences: deps.capabilities.iter().map(|c| c.name.clone()).collect(),
        cache_ms: config.cache_ms,
    };
    let lookups = lookup::Lookups::new(database, &config.lookups);
    Ok(api::router(api::Auth { identities, lookups }, &deps.token))
}

fn check_lookups(config: &Config, capabilities: &[Capability]) -> Result<(), StartError> {
    for capability in capabilities {
        for route in &capability.routes {
            if let SubjectSource::Lookup { lookup, .. } = &route.subject
                && !config.lookups.contains_key(lookup)
            {
                return Err(StartError::Config(format!(
                    "capability `{}` uses the lookup `{lookup}`, which `[auth.lookups]` does not declare",
                    capability.name
                )));
            }
        }
    }
    Ok(())
}
