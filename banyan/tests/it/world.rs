//! A gateway's process and what it stands before.

use banyan_core::Side;
use banyan_runtime::clock::Boot;
use banyan_runtime::http::{role_only, serve};
use banyan_runtime::secrets::RoleToken;
use banyan_runtime::tasks::{OnError, Tasks};
use banyan_testkit::{Process, free_port};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::load::Client;
use crate::origin::Origin;
use crate::peers::{Control, auth};

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// All of it.
pub struct World {
    pub gateway: SocketAddr,
    pub admin: SocketAddr,
    pub control: Control,
    pub monolith: Origin,
    pub service: Origin,
    pub process: Process,
    text: String,
    tasks: Tasks,
    folder: TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.request_shutdown();
    }
}

impl World {
    /// Starts a gateway with these lines in its section, and waits until it routes.
    pub async fn start(options: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tasks = Tasks::new();
        let token = RoleToken::load_or_create(&folder.path().join("d/secrets/role.key")).unwrap();
        let control = Control::new();
        let (monolith, service) =
            (Origin::new(Side::Monolith, &control), Origin::new(Side::Service, &control));
        let control_at = listen(role_only(control.router(), &token), &tasks).await;
        let auth_at = listen(role_only(auth(), &token), &tasks).await;
        let monolith_at = listen(monolith.router(), &tasks).await;
        let service_at = listen(service.router(), &tasks).await;
        let address = || SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        let (gateway, admin) = (address(), address());
        let data = folder.path().join("d").display().to_string();
        let text = format!(
            r#"
            data_dir = "{data}"
            [monolith]
            url = "http://{monolith_at}"
            database = "mysql://nobody:secret@127.0.0.1:1/shop"
            app_key = "base64:AAAA"
            session_cookie = "shop_session"
            [listen]
            gateway = "{gateway}"
            gateway_admin = "{admin}"
            control = "{control_at}"
            auth = "{auth_at}"
            [gateway]
            workers = 2
            hold_ms_max = 100000
            {options}
            [[capability]]
            name = "notifications"
            owner = "team"
            service = "http://{service_at}"
            steps = [100]
            tables = []
            routes = [{{ method = "POST", path = "/api/notifications", kind = "write" }}]
            "#
        );
        std::fs::write(folder.path().join("banyan.toml"), &text).unwrap();
        let process = spawn(&folder, "gateway", &[]);
        let world = Self { gateway, admin, control, monolith, service, process, text, tasks, folder };
        world.until("the gateway routes", async || world.is_routed().await).await;
        world
    }

    /// Starts another process of the gateway.
    pub fn spawn(&self, name: &str, arguments: &[&str]) -> Process {
        spawn(&self.folder, name, arguments)
    }

    /// A file of this text that can be run.
    pub fn script(&self, name: &str, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    /// Writes the configuration anew with these replacements of the first one.
    pub fn configure(&self, changes: &[(&str, &str)]) {
        let text = changes.iter().fold(self.text.clone(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        });
        std::fs::write(self.folder.path().join("banyan.toml"), text).unwrap();
    }

    /// Runs the command line to its end.
    pub async fn banyan(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .arg("--config")
            .arg(self.folder.path().join("banyan.toml"))
            .kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("an end in time").unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let Output { status, stdout, stderr } = output;
        if status.success() { Ok(text(&stdout)) } else { Err(text(&stderr)) }
    }

    /// Has the gateway upgraded; the new process.
    pub async fn upgrade(&self) -> u64 {
        let said = self.banyan(&["upgrade", "--json"]).await.unwrap();
        serde_json::from_str::<serde_json::Value>(&said).unwrap()["pid"].as_u64().unwrap()
    }

    /// Whether a takeover is under way.
    pub async fn refuses_upgrades(&self) -> bool {
        let nothing = ["upgrade", "--binary", "/nowhere/banyan"];
        self.banyan(&nothing).await.unwrap_err().contains("an upgrade is running already")
    }

    /// Status and body of a request over a connection of its own.
    pub async fn ask(&self, method: &str, path: &str) -> (u16, String) {
        Client::new(self.gateway).ask(method, path).await.unwrap()
    }

    /// A metric's value, by its line's beginning.
    pub async fn metric(&self, beginning: &str) -> f64 {
        let text = Client::new(self.admin).ask("GET", "/metrics").await.unwrap().1;
        text.lines().find_map(|line| line.strip_prefix(beginning)?.trim().parse().ok()).unwrap_or(-1.0)
    }

    /// Waits for a condition, with a deadline.
    pub async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let deadline = Boot::now().plus(PATIENCE);
        while !condition().await {
            assert!(Boot::now() < deadline, "{what}: not within {PATIENCE:?}\n{}", self.process.log_tail(20));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether a request of the capability is answered.
    pub async fn is_routed(&self) -> bool {
        let answer = Client::new(self.gateway).ask("POST", "/api/notifications").await;
        answer.is_ok_and(|(status, _)| status == 200)
    }
}

fn spawn(folder: &TempDir, name: &str, arguments: &[&str]) -> Process {
    let mut command = std::process::Command::new(binary());
    command.args(["run", "gateway"]).args(arguments).arg("--config").arg(folder.path().join("banyan.toml"));
    Process::spawn(name, command, folder.path()).unwrap()
}

fn binary() -> PathBuf {
    env!("CARGO_BIN_EXE_banyan").into()
}

async fn listen(router: axum::Router, tasks: &Tasks) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn("peer", OnError::Log, serve(listener, router, tasks.shutdown()));
    address
}

/// Whether a process has not ended.
pub fn runs(pid: u64) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
