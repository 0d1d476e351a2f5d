//! notify: the notifications of service-owned buckets, their preferences and activity, and their mails.
//!
//! Map: [`config`] the options; `domain` what the capability means; `store` its core in the batched shell;
//! `api` the routes; `worker` the lease, the ids, the mails; `legacy` the monolith's rows and stream, in both
//! directions; `links`, `local_time` what both sides must agree on; `metrics`; `error`.
//!
//! Invariants: every write of a user is one transaction with its activity row, its outbox event and the
//! check of its bucket's owner epoch; what the monolith's stream says is applied once, with its position; one
//! notification is mailed at most once; without a lease nothing owned is written.

mod api;
pub mod config;
mod domain;
mod error;
mod legacy;
mod links;
mod local_time;
mod metrics;
mod store;
mod worker;

use axum::Router;
use axum::http::HeaderValue;
use banyan_core::Capability;
use banyan_core::capability::TableRole;
use banyan_runtime::client::RoleClient;
use banyan_runtime::secrets::RoleToken;
use banyan_runtime::tasks::{OnError, Tasks};
use banyan_store::{Database, Fault, Lease, Limits, Outbox, Shell};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;

pub use config::Config;
pub use error::StartError;

/// The name of the database in the data folder.
const FILE: &str = "notify.db";

/// What notify is given by the process that hosts it.
#[derive(Clone)]
pub struct Deps {
    /// The folder of the database `notify.db`; made where it is missing.
    pub data_dir: PathBuf,
    /// The declaration of the capability.
    pub capability: Capability,
    /// Laravel's `APP_KEY`, with or without the prefix `base64:`.
    pub app_key: String,
    /// The IANA time zone of the monolith's DATETIME columns.
    pub timezone: String,
    /// Whose keys sign internal tokens.
    pub auth: RoleClient,
    /// Who grants the lease.
    pub control: RoleClient,
    /// Who leases ids from the monolith.
    pub sync: RoleClient,
    /// The supervisor of the background tasks.
    pub tasks: Tasks,
    /// The token that other roles show.
    pub token: RoleToken,
}

/// Checks the configuration, opens the database, starts the background tasks, and returns the routes. Other
/// roles are reached later: notify starts also while they are down, and writes nothing until it has a lease.
///
/// # Errors
/// A configuration that cannot work, or a database that cannot be used.
pub async fn start(config: Config, deps: Deps) -> Result<Router, StartError> {
    config.check().map_err(StartError::Config)?;
    check_tables(&deps.capability)?;
    let clock = local_time::LocalClock::new(&deps.timezone).map_err(StartError::Timezone)?;
    let links = links::Links::new(&deps.app_key, &config.public_url).ok_or(StartError::AppKey)?;
    let smtp = worker::smtp::Smtp::new(&config, links.clone()).map_err(StartError::Config)?;
    let database = Database::open(&deps.data_dir.join(FILE), store::MIGRATIONS)?;
    let readers = database.readers(config.readers)?;
    let incarnation = readers.read(banyan_store::outbox::incarnation).await?;
    let incarnation = HeaderValue::try_from(incarnation)
        .map_err(|_| StartError::Database(Fault::Data("the incarnation is no header".into())))?;
    let left = readers.read(store::reads::claims).await?;
    let (lease, signals) = (Lease::new(), store::Signals::default());
    let ids_low = config.ids_block_size / 3;
    let core =
        store::NotifyCore { clock, capability: deps.capability.clone(), signals: signals.clone(), ids_low };
    let limits = Limits { queue_max: config.queue_max, batch_max: config.batch_max };
    let shell = Shell::start(core, &database, (lease.clone(), limits), &deps.tasks)?;
    let (serving, drained) = mpsc::channel(1);
    let mails = worker::mail::Mails::new();
    let (backoff_max, tries_max) = worker::sender::Sender::limits(&config);
    let sender = worker::sender::Sender {
        shell: shell.clone(),
        readers: readers.clone(),
        mails: mails.clone(),
        signals: signals.clone(),
        smtp,
        backoff_max,
        tries_max,
        _serving: serving.clone(),
    };
    let leaser = worker::blocks::Leaser {
        shell: shell.clone(),
        readers: readers.clone(),
        sync: deps.sync.clone(),
        capability: deps.capability.name.clone(),
        size: config.ids_block_size,
        low: ids_low,
        signals,
    };
    let keeper = worker::lease::Keeper {
        lease: lease.clone(),
        control: deps.control.clone(),
        capability: deps.capability.name.clone(),
        serving: drained,
    };
    metrics::begin();
    spawn(&deps.tasks, (sender, left, config.mail_concurrency), (leaser, keeper));
    let service = api::Service {
        incarnation,
        outbox: Outbox::new(readers.clone(), shell.head()),
        shell,
        readers,
        lease,
        verifier: api::Verifier::new(&deps.auth, &deps.capability.name),
        links,
        mails,
        close_wait: Duration::from_millis(config.close_wait_ms),
        outbox_wait_max: Duration::from_millis(config.outbox_wait_ms_max),
        shutdown: deps.tasks.shutdown(),
        _serving: serving,
    };
    Ok(api::router(service, &config, &deps.token))
}

type Mailing = (worker::sender::Sender, Vec<(u64, u64)>, usize);

fn spawn(
    tasks: &Tasks,
    (sender, left, senders): Mailing,
    (leaser, keeper): (worker::blocks::Leaser, worker::lease::Keeper),
) {
    tasks.spawn("notify lease", OnError::StopProcess, keeper.run(tasks.shutdown()));
    tasks.spawn("notify ids", OnError::StopProcess, leaser.run(tasks.shutdown()));
    if !left.is_empty() {
        let recovery = sender.clone().recover(left, tasks.shutdown());
        tasks.spawn("notify mail recovery", OnError::StopProcess, recovery);
    }
    for _ in 0..senders {
        tasks.spawn("notify mail", OnError::StopProcess, sender.clone().run(tasks.shutdown()));
    }
}

/// The tables are built in: a declaration that differs would be read wrongly.
fn check_tables(capability: &Capability) -> Result<(), StartError> {
    let fault = |text: String| Err(StartError::Capability(capability.name.clone(), text));
    for name in domain::TABLES {
        let (key, subject) = (legacy::columns::key_column(name), legacy::columns::subject_column(name));
        let role = if name == domain::USERS { TableRole::Reference } else { TableRole::Owned };
        match capability.table(name) {
            Some(table) if table.key == key && table.subject == subject && table.role == role => {}
            _ => {
                let role = if role == TableRole::Owned { "owned" } else { "reference" };
                return fault(format!(
                    "table `{name}` must be declared with key `{key}`, subject `{subject}`, role `{role}`"
                ));
            }
        }
    }
    match capability.tables.iter().find(|table| !domain::TABLES.contains(&table.name.as_str())) {
        Some(table) => fault(format!("table `{}` is not one of the notifications service", table.name)),
        None => Ok(()),
    }
}
