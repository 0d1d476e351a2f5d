//! Banyan as far as the gateway needs it: control for the lease, auth for the session, the gateway.
//!
//! The session is a real one: a customer logs in at the Laravel monolith, which then ends. Its database stays,
//! for auth; where requests go is the benchmark's upstream.

use anyhow::{Context as _, bail, ensure};
use banyan_runtime::clock;
use banyan_testkit::{Browser, MariaDb, Monolith, MonolithConfig, Process, free_port};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::peers::on_processor;

/// How long the roles may take to start.
const START_MAX: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// What auth may do in the monolith's database.
const RIGHTS: [(&str, &str); 2] = [("SELECT, UPDATE", "shop.sessions"), ("SELECT", "shop.users")];
const PASSWORD: &str = "secret";

/// The running roles. The last process is the gateway's.
pub struct Banyan {
    /// The gateway's port for clients.
    pub port: u16,
    /// The header `Cookie` of a customer who is logged in.
    pub cookies: String,
    auth_port: u16,
    processes: Vec<Process>,
    _database: MariaDb,
}

/// A customer's session and where it is kept.
struct Login {
    database: MariaDb,
    app_key: String,
    cookies: String,
}

impl Banyan {
    /// Starts all; the gateway alone on that processor.
    ///
    /// # Errors
    /// A program is missing, or a role does not start.
    pub fn start(folder: &Path, binary: &Path, (upstream, processor): (u16, u32)) -> anyhow::Result<Self> {
        let binary = fs::canonicalize(binary).with_context(|| binary.display().to_string())?;
        let login = log_in(folder)?;
        let file = folder.join("banyan.toml");
        fs::write(&file, output(Command::new(&binary).args(["init", "-"]))?)?;
        let [port, auth_port, control, admin] = [free_port()?, free_port()?, free_port()?, free_port()?];
        let at = |port: u16| format!("127.0.0.1:{port}");
        let environment = [
            ("BANYAN_CONFIG", file.display().to_string()),
            ("BANYAN__DATA_DIR", folder.join("banyan-data").display().to_string()),
            ("BANYAN__MONOLITH__URL", format!("http://{}", at(upstream))),
            ("BANYAN__MONOLITH__DATABASE", login.database.url("banyan", PASSWORD, "shop")),
            ("BANYAN__MONOLITH__APP_KEY", login.app_key),
            ("BANYAN__MONOLITH__SESSION_COOKIE", "fintech_connect_session".into()),
            ("BANYAN__LISTEN__GATEWAY", at(port)),
            ("BANYAN__LISTEN__GATEWAY_ADMIN", at(admin)),
            ("BANYAN__LISTEN__CONTROL", at(control)),
            ("BANYAN__LISTEN__AUTH", at(auth_port)),
            ("BANYAN__GATEWAY__WORKERS", "1".into()),
            // Where the machine is busy with something else, a late answer of auth's is no refusal.
            ("BANYAN__GATEWAY__IDENTITY_TIMEOUT_MS", "30000".into()),
            ("BANYAN__CONTROL__LEASE_MS", "20000".into()),
            // The peers' connections are kept for as long.
            ("BANYAN__GATEWAY__POOL_REQUESTS_MAX", "1000000".into()),
        ];
        let mut processes = Vec::new();
        for role in ["control", "auth", "gateway"] {
            let mut command = Command::new(&binary);
            command.args(["run", role]).envs(environment.iter().map(|(key, value)| (key, value)));
            let command = if role == "gateway" { on_processor(processor, &command) } else { command };
            processes.push(Process::spawn(&format!("banyan-{role}"), command, folder)?);
        }
        let mut health = Command::new(&binary);
        health.args(["health", "control", "auth", "gateway"]).envs(environment);
        // Healthy is a gateway without a lease too, but it refuses the moved route.
        let is_ready = || {
            output(&mut health)?;
            ensure!(metrics(admin)?.contains("banyan_gateway_lease_valid 1"), "the gateway has no lease");
            Ok(())
        };
        wait_until(&processes, is_ready)?;
        Ok(Self { port, cookies: login.cookies, auth_port, processes, _database: login.database })
    }

    /// The gateway's process.
    pub fn gateway(&self) -> &Process {
        self.processes.last().expect("the gateway is the last of the roles")
    }

    /// Whether auth has recognised the customer: a guest's request is not routed by bucket.
    ///
    /// # Errors
    /// It has not.
    pub fn check_identity(&self) -> anyhow::Result<()> {
        let known =
            metrics(self.auth_port)?.contains("banyan_auth_identity_requests_total{outcome=\"user\"}");
        ensure!(known, "auth has recognised nobody: the moved route is not routed by bucket");
        Ok(())
    }
}

fn metrics(port: u16) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: banyan\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn wait_until(processes: &[Process], mut is_ready: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let begin = clock::instant();
    while let Err(error) = is_ready() {
        let ended = processes.iter().find(|process| !process.is_running());
        if ended.is_some() || begin.elapsed() > START_MAX {
            let log = ended.map(|process| process.log_tail(8)).unwrap_or_default();
            bail!("banyan does not start: {error:#}\n{log}");
        }
        thread::sleep(POLL);
    }
    Ok(())
}

fn log_in(folder: &Path) -> anyhow::Result<Login> {
    let database = MariaDb::start(folder)?;
    let config = MonolithConfig {
        folder: folder.into(),
        database: &database,
        provider_url: "http://127.0.0.1:1".into(),
        smtp_port: 1,
        php_workers: 1,
    };
    let monolith = Monolith::start(config)?;
    monolith.artisan(&["db:seed-shop", "--users=3"])?;
    database.create_user("banyan", PASSWORD, &RIGHTS)?;
    let browser = Browser::new(monolith.base_url(), PathBuf::from(folder).join("cookies"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(browser.login("user1@example.com"));
    Ok(Login { app_key: monolith.app_key().into(), cookies: browser.cookies(), database })
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?)
}
