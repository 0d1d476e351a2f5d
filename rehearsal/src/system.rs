//! Everything that is started: the monolith and its servers, the provider, Banyan.
//!
//! All of it lives in one temporary folder and ends with this value, also on Ctrl-C.

use anyhow::Context as _;
use banyan_testkit::{MariaDb, Monolith, MonolithConfig, Process, Smtp};
use bytes::Bytes;
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use mysql_async::prelude::Queryable as _;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

use crate::audit::{read, tally};
use crate::installation::{Installation, MonolithFacts, Ports, Shape};
use crate::load::client::{HttpClient, Outgoing};
use crate::options::RunOptions;
use crate::progress::Progress;
use crate::provider::{Charge, Control, Mode};

/// The database user of Banyan.
const BANYAN_USER: &str = "banyan";
const BANYAN_PASSWORD: &str = "banyan-rehearsal";
/// The scheduler writes reminders every so many seconds.
const SCHEDULER_S: u64 = 2;
/// How long a control request to the provider may take.
const PROVIDER_MAX: Duration = Duration::from_secs(5);
/// What `banyan check` asks for.
const GRANTS: [&str; 3] = [
    "REPLICATION SLAVE, BINLOG MONITOR, PROCESS, CONNECTION ADMIN ON *.*",
    "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, TRIGGER ON shop.*",
    "BINLOG ADMIN ON *.*",
];

/// All servers. Fields end in their order: Banyan first, the folder last.
pub struct System {
    banyan: Option<Installation>,
    workers: Vec<Process>,
    provider: ProviderProcess,
    monolith: Monolith,
    smtp: Smtp,
    mariadb: MariaDb,
    folder: Folder,
}

/// The temporary folder, kept where that was asked for.
enum Folder {
    Removed(TempDir),
    Kept(std::path::PathBuf),
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Self::Removed(folder) => folder.path(),
            Self::Kept(folder) => folder,
        }
    }
}

/// The payment provider's process, and its remote control.
pub struct ProviderProcess {
    _process: Process,
    client: HttpClient,
    url: String,
}

impl ProviderProcess {
    fn start(folder: &Path, seed: u64) -> anyhow::Result<Self> {
        let port = banyan_testkit::free_port()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["provider", "--port", &port.to_string(), "--seed", &seed.to_string()]);
        let process = Process::spawn("provider", command, folder)?;
        let url = format!("http://127.0.0.1:{port}");
        Ok(Self { _process: process, client: HttpClient::new(&url, PROVIDER_MAX), url })
    }

    /// Changes how the provider behaves.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn set(&self, mode: Mode) -> anyhow::Result<()> {
        let body = serde_json::json!({ "mode": mode }).to_string();
        let _: Control = self.call(Method::PUT, "/control", body).await?;
        Ok(())
    }

    /// How the provider behaves.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn control(&self) -> anyhow::Result<Control> {
        self.call(Method::GET, "/control", String::new()).await
    }

    /// How often each reference was captured.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn charges(&self) -> anyhow::Result<BTreeMap<String, usize>> {
        let charges: Vec<Charge> = self.call(Method::GET, "/charges", String::new()).await?;
        Ok(tally(charges.into_iter().filter_map(|charge| charge.reference)))
    }

    async fn call<R: DeserializeOwned>(&self, method: Method, path: &str, body: String) -> anyhow::Result<R> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let outgoing = Outgoing { method, path: path.into(), headers, body: Bytes::from(body) };
        let answer = self.client.send(outgoing).await;
        let answer = answer.map_err(|broken| anyhow::anyhow!("the payment provider: {broken}"))?;
        serde_json::from_slice(&answer.body).context("the payment provider's answer")
    }
}

impl System {
    /// Starts all but Banyan and seeds the shop.
    ///
    /// # Errors
    /// A program is missing (named, with what installs it) or a server does not start.
    pub async fn start(options: &RunOptions, progress: &Progress) -> anyhow::Result<Self> {
        let made = tempfile::Builder::new().prefix("banyan-rehearsal-").tempdir()?;
        let folder = if options.keep { Folder::Kept(made.keep()) } else { Folder::Removed(made) };
        let path = folder.path().to_owned();
        let fate = if options.keep { "kept" } else { "removed at the end; --keep keeps it" };
        eprintln!("databases, configuration and logs are in {} ({fate})", path.display());
        progress.doing("starting MariaDB, the SMTP sink, the payment provider, PHP-FPM and nginx");
        let mariadb = MariaDb::start(&path)?;
        let smtp = Smtp::start(&path)?;
        let provider = ProviderProcess::start(&path, options.seed)?;
        let monolith = Monolith::start(MonolithConfig {
            folder: path.clone(),
            database: &mariadb,
            provider_url: provider.url.clone(),
            smtp_port: smtp.port(),
            php_workers: options.php_workers,
        })?;
        progress.finish();
        let (users, seed) = (format!("--users={}", options.users), format!("--seed={}", options.seed));
        monolith.artisan_shown(&["db:seed-shop", &users, &seed]).context("seeding the shop")?;
        let workers = vec![monolith.start_mail_worker()?, monolith.start_scheduler(SCHEDULER_S)?];
        let system = Self { banyan: None, workers, provider, monolith, smtp, mariadb, folder };
        system.make_user().await?;
        Ok(system)
    }

    /// Starts Banyan before the monolith.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_banyan(&mut self, shape: &Shape) -> anyhow::Result<&Installation> {
        let facts = MonolithFacts {
            url: self.monolith_url(),
            database: self.mariadb.url(BANYAN_USER, BANYAN_PASSWORD, "shop"),
            app_key: self.app_key(),
            smtp_port: self.smtp.port(),
        };
        let port = banyan_testkit::free_port;
        let ports = Ports {
            gateway: port()?,
            gateway_admin: port()?,
            control: port()?,
            auth: port()?,
            sync: port()?,
            notify: port()?,
        };
        let installation = Installation::start(self.folder.path(), &facts, ports, shape).await?;
        Ok(self.banyan.insert(installation))
    }

    /// The database user of Banyan, with the rights that `banyan check` asks for.
    async fn make_user(&self) -> anyhow::Result<()> {
        let mut database = read::connect(&self.root_url()).await?;
        let user = format!("'{BANYAN_USER}'@'%'");
        database.query_drop(format!("CREATE USER {user} IDENTIFIED BY '{BANYAN_PASSWORD}'")).await?;
        for rights in GRANTS {
            let (what, on) = rights.split_once(" ON ").context("each grant names its object")?;
            database.query_drop(format!("GRANT {what} ON {on} TO {user}")).await?;
        }
        database.disconnect().await?;
        Ok(())
    }

    /// The first id that a notification of the run gets.
    ///
    /// # Errors
    /// The database fails.
    pub async fn first_new_id(&self) -> anyhow::Result<u64> {
        let mut database = read::connect(&self.root_url()).await?;
        let newest: Option<u64> =
            database.query_first("SELECT COALESCE(MAX(id), 0) FROM notifications").await?;
        database.disconnect().await?;
        Ok(newest.unwrap_or_default() + 1)
    }

    /// CPU milliseconds that all processes of the system have used: databases, PHP, nginx, workers, Banyan;
    /// not the load, the provider and the SMTP sink.
    ///
    /// # Errors
    /// A process has ended.
    pub fn cpu_ms(&self) -> anyhow::Result<f64> {
        let mut processes = self.monolith.processes();
        processes.push(self.mariadb.process());
        processes.extend(&self.workers);
        processes.extend(self.banyan.iter().flat_map(Installation::processes));
        let used: Vec<u64> = processes.into_iter().map(Process::cpu_ms).collect::<anyhow::Result<_>>()?;
        Ok(used.iter().sum::<u64>() as f64)
    }

    /// The monolith's base URL.
    pub fn monolith_url(&self) -> String {
        self.monolith.base_url().to_owned()
    }

    /// Laravel's key.
    pub fn app_key(&self) -> String {
        self.monolith.app_key().to_owned()
    }

    /// The monolith's database as root.
    pub fn root_url(&self) -> String {
        self.mariadb.root_url("shop")
    }

    /// Where databases and logs are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The payment provider.
    pub fn provider(&self) -> &ProviderProcess {
        &self.provider
    }

    /// Banyan, once it runs.
    pub fn banyan(&self) -> Option<&Installation> {
        self.banyan.as_ref()
    }

    /// The notification that each mail names.
    ///
    /// # Errors
    /// The mails cannot be read.
    pub fn mails(&self) -> anyhow::Result<Vec<Option<u64>>> {
        let named = |mail: &banyan_testkit::Message| mail.header("X-Notification-Id")?.trim().parse().ok();
        Ok(self.smtp.messages()?.iter().map(named).collect())
    }

    /// Banyan, to kill and to tend.
    ///
    /// # Errors
    /// It has not been started.
    pub fn banyan_mut(&mut self) -> anyhow::Result<&mut Installation> {
        self.banyan.as_mut().context("Banyan was not started")
    }

    /// Kills the monolith's database and starts it again.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart_database(&mut self) -> anyhow::Result<()> {
        self.mariadb.restart()
    }

    /// Kills PHP-FPM and starts it again.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart_php(&mut self) -> anyhow::Result<()> {
        self.monolith.restart_fpm()
    }

    /// Starts again what has ended, as a supervisor does.
    ///
    /// # Errors
    /// Something cannot be started.
    pub fn tend(&mut self) -> anyhow::Result<usize> {
        let mut started = 0;
        if let Some(worker) = self.workers.first_mut()
            && !worker.is_running()
        {
            *worker = self.monolith.start_mail_worker()?;
            started += 1;
        }
        Ok(started + self.banyan_mut()?.tend()?)
    }

    /// Ends whatever writes by itself.
    pub fn stop_scheduler(&mut self) {
        // The mail worker stays: mails that are pending must still be sent.
        self.workers.truncate(1);
    }
}
