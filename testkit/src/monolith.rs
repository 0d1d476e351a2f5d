//! The monolith of `legacy/`: its database, PHP-FPM behind nginx, its workers, its commands.

use anyhow::{Context as _, bail};
use base64::Engine as _;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::deadline::wait_for;
use crate::laravel::{FPM, Layout, application, php};
use crate::programs::{first, is_root, run};
use crate::{MariaDb, Process, free_port};

/// Its database.
const DATABASE: &str = "shop";
/// Its database user.
const USER: &str = "app";
const PASSWORD: &str = "app-password";
/// How long it may take to answer the first request.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one answer may take while it starts.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What a monolith is started with.
#[derive(Clone, Debug)]
pub struct MonolithConfig<'d> {
    /// The folder for its files; one monolith each.
    pub folder: PathBuf,
    /// The server that gets its database `shop`.
    pub database: &'d MariaDb,
    /// The payment provider's base URL.
    pub provider_url: String,
    /// The port of the SMTP server at 127.0.0.1.
    pub smtp_port: u16,
    /// PHP-FPM's processes: so many requests it works on at once.
    pub php_workers: u32,
}

/// A running monolith with an empty shop: tables, and no users yet.
#[derive(Debug)]
pub struct Monolith {
    base_url: String,
    app_key: String,
    layout: Layout,
    nginx: Process,
    fpm: Process,
}

impl Monolith {
    /// Creates its database and starts PHP-FPM and nginx.
    ///
    /// # Errors
    /// A program is missing, or a server does not start; the message holds the end of its log.
    pub fn start(config: MonolithConfig<'_>) -> anyhow::Result<Self> {
        let schema = application().join("database/schema.sql");
        let schema = fs::read_to_string(&schema).with_context(|| schema.display().to_string())?;
        config.database.load_schema(DATABASE, &schema)?;
        let rights = [("ALL PRIVILEGES", format!("{DATABASE}.*"))];
        config.database.create_user(
            USER,
            PASSWORD,
            &rights.each_ref().map(|(what, on)| (*what, on.as_str())),
        )?;
        let (port, key) = (free_port()?, rand::random::<[u8; 32]>());
        let app_key = format!("base64:{}", base64::engine::general_purpose::STANDARD.encode(key));
        let base_url = format!("http://127.0.0.1:{port}");
        let folder = config.folder.join("monolith");
        make_storage(&folder)?;
        let environment = environment(&config, &[("APP_KEY", &app_key), ("APP_URL", &base_url)]);
        let layout = Layout { folder, port, workers: config.php_workers, environment };
        let fpm = start_fpm(&layout)?;
        let nginx = start_nginx(&layout)?;
        let monolith = Self { base_url, app_key, layout, nginx, fpm };
        monolith.wait_until_ready()?;
        Ok(monolith)
    }

    /// Its base URL, `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Laravel's key, `base64:…`.
    pub fn app_key(&self) -> &str {
        &self.app_key
    }

    /// PHP-FPM and nginx.
    pub fn processes(&self) -> Vec<&Process> {
        vec![&self.fpm, &self.nginx]
    }

    /// Kills PHP-FPM as a power failure would, and starts it again.
    ///
    /// # Errors
    /// It does not start; the message holds the end of its log.
    pub fn restart_fpm(&mut self) -> anyhow::Result<()> {
        self.fpm.kill();
        // Left behind by the killed master; its successor makes its own.
        fs::remove_file(self.layout.socket()).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        self.fpm = start_fpm(&self.layout)?;
        self.wait_until_ready()
    }

    /// Runs an artisan command; what it said.
    ///
    /// # Errors
    /// It fails; the message holds what it said.
    pub fn artisan(&self, arguments: &[&str]) -> anyhow::Result<String> {
        run(&mut self.artisan_command(arguments)?).with_context(|| format!("artisan {}", arguments.join(" ")))
    }

    /// Runs an artisan command whose progress goes to the terminal.
    ///
    /// # Errors
    /// It fails.
    pub fn artisan_shown(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let status = self.artisan_command(arguments)?.status()?;
        if !status.success() {
            bail!("artisan {}: {status}", arguments.join(" "));
        }
        Ok(())
    }

    /// Starts the worker that mails notifications; it ends with the value.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_mail_worker(&self) -> anyhow::Result<Process> {
        Process::spawn("mail-worker", self.artisan_command(&["mail:work"])?, &self.layout.folder)
    }

    /// Starts the scheduler that writes reminders every so many seconds; it ends with the value.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_scheduler(&self, seconds: u64) -> anyhow::Result<Process> {
        let every = format!("--every={seconds}");
        let command = self.artisan_command(&["reminders:schedule", &every])?;
        Process::spawn("scheduler", command, &self.layout.folder)
    }

    fn artisan_command(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(php()?);
        command.arg(application().join("artisan")).arg("--no-interaction").args(arguments);
        command.stdin(Stdio::null()).envs(&self.layout.environment).current_dir(application());
        Ok(command)
    }

    /// Waits until the login page comes.
    fn wait_until_ready(&self) -> anyhow::Result<()> {
        wait_for("the monolith's first answer", PATIENCE, || {
            for process in self.processes() {
                anyhow::ensure!(process.is_running(), "a server has ended");
            }
            let answer = get(self.layout.port, "/login").unwrap_or_default();
            if answer.starts_with("HTTP/1.1 5") {
                bail!("it answers {answer}");
            }
            Ok(answer.starts_with("HTTP/1.1 200").then_some(()))
        })
        .with_context(|| {
            let [fpm, nginx] = [&self.fpm, &self.nginx].map(|process| process.log_tail(6));
            format!("the monolith does not start; the ends of its logs:\n{fpm}\n{nginx}")
        })
    }
}

/// What the application reads.
fn environment(
    config: &MonolithConfig<'_>,
    own: &[(&'static str, &String)],
) -> BTreeMap<&'static str, String> {
    let storage = config.folder.join("monolith/storage");
    let mut environment = BTreeMap::from([
        ("APP_ENV", "production".to_owned()),
        ("APP_DEBUG", "false".to_owned()),
        ("APP_STORAGE", storage.display().to_string()),
        ("DB_HOST", "127.0.0.1".to_owned()),
        ("DB_PORT", config.database.port().to_string()),
        ("DB_DATABASE", DATABASE.to_owned()),
        ("DB_USERNAME", USER.to_owned()),
        ("DB_PASSWORD", PASSWORD.to_owned()),
        ("MAIL_HOST", "127.0.0.1".to_owned()),
        ("MAIL_PORT", config.smtp_port.to_string()),
        ("PROVIDER_URL", config.provider_url.clone()),
    ]);
    environment.extend(own.iter().map(|(key, value)| (*key, (*value).clone())));
    environment
}

/// Laravel's writable folders.
fn make_storage(folder: &Path) -> anyhow::Result<()> {
    for below in ["app", "framework/cache/data", "framework/sessions", "framework/views", "logs"] {
        fs::create_dir_all(folder.join("storage").join(below))?;
    }
    Ok(())
}

fn start_fpm(layout: &Layout) -> anyhow::Result<Process> {
    let file = layout.folder.join("fpm.conf");
    fs::write(&file, layout.fpm_conf())?;
    let mut command = Command::new(first(&[FPM])?);
    command.arg("--nodaemonize").arg("--fpm-config").arg(file);
    if is_root() {
        command.arg("--allow-to-run-as-root");
    }
    let fpm = Process::spawn_master("fpm", &command, &layout.folder)?;
    wait_for("PHP-FPM's start", PATIENCE, || {
        anyhow::ensure!(fpm.is_running(), "it has ended:\n{}", fpm.log_tail(6));
        Ok(layout.socket().exists().then_some(()))
    })
    .context("PHP-FPM does not start")?;
    Ok(fpm)
}

fn start_nginx(layout: &Layout) -> anyhow::Result<Process> {
    let file = layout.folder.join("nginx.conf");
    fs::write(&file, layout.nginx_conf())?;
    let mut command = Command::new(first(&["nginx"])?);
    command.arg("-e").arg("stderr").arg("-p").arg(&layout.folder).arg("-c").arg(file);
    Process::spawn_master("nginx", &command, &layout.folder)
}

/// One request, its whole answer.
fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Part, Smtp, require};

    fn start(folder: &Path, smtp_port: u16) -> (MariaDb, Monolith) {
        let database = MariaDb::start(folder).unwrap();
        let config = MonolithConfig {
            folder: folder.into(),
            database: &database,
            provider_url: "http://127.0.0.1:1".into(),
            smtp_port,
            php_workers: 2,
        };
        let monolith = Monolith::start(config).unwrap();
        monolith.artisan(&["db:seed-shop", "--users=3"]).unwrap();
        (database, monolith)
    }

    #[test]
    fn it_serves_pages_mails_and_writes_reminders() {
        let (Some(()), Some(())) = (require(Part::Monolith), require(Part::Smtp)) else { return };
        let folder = tempfile::tempdir().unwrap();
        let smtp = Smtp::start(folder.path()).unwrap();
        let (database, monolith) = start(folder.path(), smtp.port());
        let answer = get(monolith.layout.port, "/api/notifications/unread-count").unwrap();
        assert!(answer.starts_with("HTTP/1.1 401 ") || answer.starts_with("HTTP/1.1 302 "), "{answer}");
        let used: Vec<u64> = monolith.processes().into_iter().map(|p| p.cpu_ms().unwrap()).collect();
        assert!(used[0] > 0, "PHP answered: {used:?}");

        let statement = "INSERT INTO notifications (user_id, title, mail_state, created_at, updated_at)
            VALUES (1, 'Hello', 'pending', NOW(), NOW()); SELECT LAST_INSERT_ID();";
        let id = database.sql("shop", statement).unwrap();
        let worker = monolith.start_mail_worker().unwrap();
        let mail = wait_for("the mail", PATIENCE, || {
            anyhow::ensure!(worker.is_running(), "the worker has ended: {}", worker.log_tail(5));
            Ok(smtp.messages()?.pop())
        });
        let mail = mail.unwrap();
        assert_eq!(mail.header("X-Notification-Id"), Some(id.trim()));
        assert_eq!(mail.header("Subject"), Some("Hello"));

        let scheduler = monolith.start_scheduler(1).unwrap();
        let count = || database.sql("shop", "SELECT COUNT(*) FROM notifications").unwrap();
        let before = count();
        wait_for("a reminder", PATIENCE, || Ok((count() != before).then_some(()))).unwrap();
        assert!(scheduler.is_running());
    }

    #[test]
    fn a_command_that_fails_says_why() {
        let Some(()) = require(Part::Monolith) else { return };
        let folder = tempfile::tempdir().unwrap();
        let (_database, monolith) = start(folder.path(), 1);
        let error = format!("{:#}", monolith.artisan(&["db:seed-shop", "--users=3"]).unwrap_err());
        assert!(error.contains("artisan db:seed-shop") && error.contains("users already"), "{error}");
        assert!(monolith.artisan_shown(&["no:such-command"]).is_err());
    }
}
