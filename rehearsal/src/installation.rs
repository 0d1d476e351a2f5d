//! One installation of Banyan: its `banyan.toml`, its process, its roles' addresses.
//!
//! The file is the one that `banyan init` prints, with addresses and the monolith's facts filled in, so that
//! the rehearsal runs what an operator would run.

use anyhow::{Context as _, bail};
use banyan_runtime::client::RoleClient;
use banyan_runtime::secrets::RoleToken;
use banyan_runtime::{clock, failpoints};
use banyan_testkit::Process;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use toml::{Table, Value};

use crate::control::{CAPABILITY, Operator, POLL};

/// How long Banyan may take to start.
const START_MAX: Duration = Duration::from_secs(30);
/// Lines of the log that are shown when Banyan cannot start.
const LOG_LINES: usize = 12;

/// The roles, as `banyan run` names them.
pub const ROLES: [&str; 5] = ["control", "auth", "notify", "sync", "gateway"];

/// What the configuration says about the monolith.
pub struct MonolithFacts {
    /// Its base URL.
    pub url: String,
    /// Its database, as Banyan's own user.
    pub database: String,
    /// Laravel's key.
    pub app_key: String,
    /// The SMTP server's port.
    pub smtp_port: u16,
}

/// A free port for each role.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// For clients.
    pub gateway: u16,
    /// The gateway's own figures.
    pub gateway_admin: u16,
    /// Control.
    pub control: u16,
    /// Auth.
    pub auth: u16,
    /// Sync.
    pub sync: u16,
    /// The notifications service.
    pub notify: u16,
}

/// Whether the roles share a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `banyan up`.
    Together,
    /// `banyan run ROLE` for each.
    Apart,
}

/// How it is installed.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Whether the roles share a process.
    pub layout: Layout,
    /// What `banyan.toml` says otherwise than usual.
    pub changes: Table,
    /// A role that kills itself while all start, and where; it is started again.
    pub armed: Option<(String, String)>,
}

impl From<Layout> for Shape {
    fn from(layout: Layout) -> Self {
        Self { layout, changes: Table::new(), armed: None }
    }
}

/// A running installation.
pub struct Installation {
    processes: Vec<Process>,
    starter: Starter,
    ports: Ports,
    data: PathBuf,
    operator: Operator,
    next: Option<(String, String)>,
    revived: usize,
}

impl Installation {
    /// Writes the configuration, asks `banyan check`, starts `banyan up` and waits until every role answers.
    ///
    /// # Errors
    /// The check finds something to mend, or a role does not start; the message holds the end of its log.
    pub async fn start(
        folder: &Path,
        facts: &MonolithFacts,
        ports: Ports,
        shape: &Shape,
    ) -> anyhow::Result<Self> {
        let binary = binary()?;
        let data = folder.join("banyan-data");
        let file = folder.join("banyan.toml");
        let mut settings = configure(&template(&binary)?, facts, (ports, &data))?;
        overlay(&mut settings, &shape.changes);
        std::fs::write(&file, toml::to_string(&settings)?)?;
        check(&binary, &file)?;
        let starter = Starter { binary, file, folder: folder.to_owned() };
        let processes = match shape.layout {
            Layout::Together => vec![starter.spawn("banyan", &["up"], None)?],
            Layout::Apart => {
                let armed = |role: &str| {
                    let here = shape.armed.as_ref().filter(|(armed, _)| armed == role);
                    here.map(|(_, failpoint)| failpoint.as_str())
                };
                ROLES.iter().map(|role| starter.role(role, armed(role))).collect::<anyhow::Result<_>>()?
            }
        };
        let token = RoleToken::load_or_create(&data.join("secrets/role.key"))?;
        let client = |port: u16| RoleClient::new(&format!("http://127.0.0.1:{port}"), token.clone());
        let operator = Operator {
            control: client(ports.control),
            sync: client(ports.sync),
            service: client(ports.notify),
            gateway: client(ports.gateway_admin),
        };
        let (next, revived) = (None, 0);
        let mut installation = Self { processes, starter, ports, data, operator, next, revived };
        installation.wait_until_ready(shape.armed.is_some()).await?;
        Ok(installation)
    }

    /// The address for clients.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.gateway)
    }

    /// Each role, and the base URL of its metrics.
    pub fn metrics_urls(&self) -> Vec<(&'static str, String)> {
        let port = |role: &str| match role {
            "control" => self.ports.control,
            "auth" => self.ports.auth,
            "notify" => self.ports.notify,
            "sync" => self.ports.sync,
            _ => self.ports.gateway_admin,
        };
        ROLES.iter().map(|role| (*role, format!("http://127.0.0.1:{}", port(role)))).collect()
    }

    /// The roles' APIs.
    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    /// The processes.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// Kills a role's process at once, where each role has one, and starts it again; with a failpoint's name
    /// it will kill itself there.
    ///
    /// # Errors
    /// There is no such role, or it cannot be started.
    pub fn restart(&mut self, role: &str, failpoint: Option<&str>) -> anyhow::Result<()> {
        let index = ROLES.iter().position(|known| *known == role).context("no such role")?;
        let process = self.processes.get_mut(index).context("the roles share one process")?;
        process.kill();
        *process = self.starter.role(role, failpoint)?;
        self.next = None;
        Ok(())
    }

    /// Kills a role's process at once, where each role has one, and leaves it to [`Self::tend`].
    ///
    /// # Errors
    /// There is no such role.
    pub fn kill(&mut self, role: &str) -> anyhow::Result<()> {
        let index = ROLES.iter().position(|known| *known == role).context("no such role")?;
        self.processes.get_mut(index).context("the roles share one process")?.kill();
        Ok(())
    }

    /// Kills the service's process and removes its database; it stays away until [`Self::tend`] starts it.
    ///
    /// # Errors
    /// The roles share a process, or a file cannot be removed.
    pub fn lose_service(&mut self) -> anyhow::Result<()> {
        let file = self.service_file()?;
        let index = ROLES.iter().position(|role| *role == "notify").context("no such role")?;
        self.processes.get_mut(index).context("the roles share one process")?.kill();
        for suffix in ["", "-wal", "-shm"] {
            let mut path = file.clone().into_os_string();
            path.push(suffix);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// A command of an operator, such as `migration status`.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.starter.binary);
        command.arg("--config").arg(&self.starter.file).args(arguments);
        command
    }

    /// Starts again what has ended, as a supervisor does; how many had.
    ///
    /// # Errors
    /// A role cannot be started.
    pub fn tend(&mut self) -> anyhow::Result<usize> {
        let ended: Vec<usize> =
            (0..self.processes.len()).filter(|index| !self.processes[*index].is_running()).collect();
        for index in &ended {
            let next = self.next.take_if(|(role, _)| role == ROLES[*index]).map(|(_, failpoint)| failpoint);
            self.processes[*index] = self.starter.role(ROLES[*index], next.as_deref())?;
        }
        self.revived += ended.len();
        Ok(ended.len())
    }

    /// Arms a failpoint of a role for when it ends and is started again; [`Self::restart`] forgets it.
    pub fn arm_next(&mut self, role: &str, failpoint: &str) {
        self.next = Some((role.into(), failpoint.into()));
    }

    /// Whether a failpoint still waits for its role's end.
    pub fn awaits_end(&self) -> bool {
        self.next.is_some()
    }

    /// How many roles have been started again by [`Self::tend`].
    pub fn revived(&self) -> usize {
        self.revived
    }

    /// Whether every role answers.
    ///
    /// # Errors
    /// One does not; the message says which.
    pub async fn readiness(&self) -> anyhow::Result<()> {
        self.operator.status().await.context("control")?;
        self.operator.sync_status().await.context("sync")?;
        self.operator.import_state().await.context("notify")?;
        self.operator.holds().await.context("gateway")?;
        let address = ("127.0.0.1", self.ports.gateway);
        tokio::net::TcpStream::connect(address).await.context("the gateway's public port")?;
        Ok(())
    }

    /// The service's database: the one file of the data folder that has its tables.
    ///
    /// # Errors
    /// There is none.
    pub fn service_file(&self) -> anyhow::Result<PathBuf> {
        let mut folders = vec![self.data.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if has_notifications(&path) {
                    return Ok(path);
                }
            }
        }
        bail!("no database of the service in {}", self.data.display())
    }

    async fn wait_until_ready(&mut self, tends: bool) -> anyhow::Result<()> {
        let start = clock::instant();
        loop {
            let failed = match self.readiness().await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if tends {
                self.tend()?;
            }
            let ended = self.processes.iter_mut().position(|process| !process.is_running());
            if ended.is_some() || start.elapsed() > START_MAX {
                let log = self.processes[ended.unwrap_or_default()].log_tail(LOG_LINES);
                bail!("banyan does not start: {failed:#}; the end of its log:\n{log}");
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// What processes are started with.
struct Starter {
    binary: PathBuf,
    file: PathBuf,
    folder: PathBuf,
}

impl Starter {
    fn role(&self, role: &str, failpoint: Option<&str>) -> anyhow::Result<Process> {
        self.spawn(&format!("banyan-{role}"), &["run", role], failpoint)
    }

    fn spawn(&self, name: &str, arguments: &[&str], failpoint: Option<&str>) -> anyhow::Result<Process> {
        let mut command = Command::new(&self.binary);
        command.args(arguments).arg("--config").arg(&self.file).current_dir(&self.folder);
        if let Some(failpoint) = failpoint {
            command.env(failpoints::VARIABLE, failpoint);
        }
        Process::spawn(name, command, &self.folder)
    }
}

fn binary() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let binary = own.with_file_name("banyan");
    if !binary.is_file() {
        bail!("{} is missing; build it with `cargo build -p banyan`, or use bin/rehearse", binary.display());
    }
    Ok(binary)
}

fn template(binary: &Path) -> anyhow::Result<String> {
    // In a group of its own: Ctrl-C is for the rehearsal, which ends everything.
    let output = Command::new(binary).args(["init", "-"]).process_group(0).output()?;
    if !output.status.success() {
        bail!("`banyan init -` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn check(binary: &Path, file: &Path) -> anyhow::Result<()> {
    let output = Command::new(binary).arg("check").arg("--config").arg(file).process_group(0).output()?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("`banyan check` finds something to mend:\n{}", String::from_utf8_lossy(&said).trim());
    }
    Ok(())
}

/// Fills the template in.
fn configure(template: &str, facts: &MonolithFacts, (ports, data): (Ports, &Path)) -> anyhow::Result<Table> {
    let mut file: Table = template.parse().context("the template of `banyan init`")?;
    file.insert("data_dir".into(), data.display().to_string().into());
    set(
        &mut file,
        "monolith",
        [
            ("url", facts.url.clone().into()),
            ("database", facts.database.clone().into()),
            ("app_key", facts.app_key.clone().into()),
            ("session_cookie", "fintech_connect_session".into()),
            ("session_lifetime_minutes", 120.into()),
            ("timezone", "Europe/Berlin".into()),
        ],
    )?;
    let at = |port: u16| Value::from(format!("127.0.0.1:{port}"));
    set(
        &mut file,
        "listen",
        [
            ("gateway", at(ports.gateway)),
            ("gateway_admin", at(ports.gateway_admin)),
            ("control", at(ports.control)),
            ("auth", at(ports.auth)),
            ("sync", at(ports.sync)),
            ("notify", at(ports.notify)),
        ],
    )?;
    set(&mut file, "notify", [("smtp", at(facts.smtp_port))])?;
    let capabilities = file.get_mut("capability").and_then(Value::as_array_mut);
    let capability = capabilities
        .into_iter()
        .flatten()
        .filter_map(Value::as_table_mut)
        .find(|c| c.get("name").and_then(Value::as_str) == Some(CAPABILITY))
        .with_context(|| format!("the template declares no capability `{CAPABILITY}`"))?;
    capability.insert("service".into(), format!("http://127.0.0.1:{}", ports.notify).into());
    Ok(file)
}

/// Sections are merged, everything else is replaced.
fn overlay(file: &mut Table, changes: &Table) {
    for (key, change) in changes {
        match (file.get_mut(key), change) {
            (Some(Value::Table(section)), Value::Table(change)) => overlay(section, change),
            // All of an array, where one section is meant for each.
            (Some(Value::Array(sections)), Value::Table(change)) => {
                sections
                    .iter_mut()
                    .filter_map(Value::as_table_mut)
                    .for_each(|section| overlay(section, change));
            }
            _ => {
                file.insert(key.clone(), change.clone());
            }
        }
    }
}

fn set<const N: usize>(file: &mut Table, section: &str, keys: [(&str, Value); N]) -> anyhow::Result<()> {
    let section = file
        .entry(section)
        .or_insert_with(|| Value::Table(Table::new()))
        .as_table_mut()
        .with_context(|| format!("`{section}` is no section of the template"))?;
    keys.into_iter().for_each(|(key, value)| {
        section.insert(key.into(), value);
    });
    Ok(())
}

fn has_notifications(file: &Path) -> bool {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    rusqlite::Connection::open_with_flags(file, flags)
        .and_then(|database| {
            database.prepare("SELECT client_ref FROM notification_activity LIMIT 0").map(|_| ())
        })
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_of_init_is_filled_in() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../banyan/src/commands/banyan.toml");
        let template = std::fs::read_to_string(path).unwrap();
        let facts = MonolithFacts {
            url: "http://127.0.0.1:9".into(),
            database: "mysql://banyan:x@127.0.0.1:10/shop".into(),
            app_key: "base64:AAAA".into(),
            smtp_port: 25,
        };
        let ports = Ports { gateway: 1, gateway_admin: 2, control: 3, auth: 4, sync: 5, notify: 6 };
        let mut file = configure(&template, &facts, (ports, Path::new("/data"))).unwrap();
        overlay(&mut file, &"[listen]\nsync = '127.0.0.1:50'\n[new]\nkey = 1".parse().unwrap());
        assert_eq!(file["monolith"]["url"].as_str(), Some("http://127.0.0.1:9"));
        assert_eq!(file["listen"]["sync"].as_str(), Some("127.0.0.1:50"));
        assert_eq!(file["listen"]["auth"].as_str(), Some("127.0.0.1:4"), "the rest of a section stays");
        assert_eq!(file["new"]["key"].as_integer(), Some(1));
        assert_eq!(file["notify"]["smtp"].as_str(), Some("127.0.0.1:25"));
        assert_eq!(file["capability"][0]["service"].as_str(), Some("http://127.0.0.1:6"));
        let text = toml::to_string(&file).unwrap();
        let left: Vec<&str> =
            text.lines().filter(|line| line.contains(":71") || line.contains(":8000")).collect();
        assert!(left.is_empty(), "addresses of the template are left: {left:?}");
    }
}
