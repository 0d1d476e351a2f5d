//! A MariaDB server of its own, set up as a monolith's primary is: row binlogs, durable commits.

use anyhow::Context as _;
use std::fs;
use std::io::{Read as _, Seek as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::deadline::wait_for;
use crate::programs::{first, is_root, run, run_with};
use crate::{Process, free_port};

/// How long the server may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a greeting may take once the port is open.
const GREETING_MAX: Duration = Duration::from_secs(10);
/// Lines of the log that are shown when it does not start.
const LOG_LINES: usize = 12;
/// The zone that sessions of the monolith name.
const ZONE: &str = "Europe/Berlin";

/// What makes it a primary that Banyan can follow; the rest keeps it small.
const OPTIONS: [&str; 15] = [
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--server-id=1",
    "--log-bin=binlog",
    "--binlog-format=ROW",
    "--binlog-row-image=FULL",
    "--binlog-row-metadata=FULL",
    "--gtid-strict-mode=ON",
    "--sync-binlog=1",
    "--innodb-flush-log-at-trx-commit=1",
    "--innodb-buffer-pool-size=128M",
    "--innodb-log-file-size=64M",
    "--sql-mode=STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION",
    "--character-set-server=utf8mb4",
    "--max-connections=300",
];

/// A running server. Its user `root` has no password and every right.
#[derive(Debug)]
pub struct MariaDb {
    folder: PathBuf,
    port: u16,
    process: Process,
}

impl MariaDb {
    /// Creates an empty server in the folder `mariadb` below the given one, and starts it.
    ///
    /// # Errors
    /// A program is missing, or the server does not start; the message holds the end of its log.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.join("mariadb");
        fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        install(&folder).context("creating MariaDB's system tables")?;
        let port = free_port()?;
        let process = launch(&folder, port)?;
        Ok(Self { folder, port, process })
    }

    /// The URL for a user of a database.
    pub fn url(&self, user: &str, password: &str, database: &str) -> String {
        format!("mysql://{user}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// The URL for `root`.
    pub fn root_url(&self, database: &str) -> String {
        format!("mysql://root@127.0.0.1:{}/{database}", self.port)
    }

    /// The port at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Runs statements as `root`, in a database where one is named; rows come as lines of columns between
    /// tabs.
    ///
    /// # Errors
    /// A statement fails, or the server does not run.
    pub fn sql(&self, database: &str, statements: &str) -> anyhow::Result<String> {
        let mut client = Command::new(first(&["mariadb"])?);
        client.args([
            "--no-defaults",
            "--user=root",
            "--batch",
            "--skip-column-names",
            "--max-allowed-packet=64M",
        ]);
        client.arg("--default-character-set=utf8mb4");
        client.arg(format!("--socket={}", socket(&self.folder)));
        if !database.is_empty() {
            client.arg(database);
        }
        let mut script = tempfile::tempfile_in(&self.folder)?;
        script.write_all(statements.as_bytes())?;
        script.rewind()?;
        run_with(&mut client, script.into())
    }

    /// Creates the database anew and loads a schema into it.
    ///
    /// # Errors
    /// A statement fails.
    pub fn load_schema(&self, database: &str, schema: &str) -> anyhow::Result<()> {
        self.sql("", &format!("CREATE OR REPLACE DATABASE `{database}` CHARACTER SET utf8mb4"))?;
        self.sql(database, schema).with_context(|| format!("the schema of {database}"))?;
        Ok(())
    }

    /// Creates a user with exactly these rights: (what, on what), such as `("SELECT", "shop.sessions")`.
    ///
    /// # Errors
    /// A statement fails.
    pub fn create_user(&self, user: &str, password: &str, rights: &[(&str, &str)]) -> anyhow::Result<()> {
        let account = format!("'{user}'@'%'");
        let mut statements = format!("CREATE USER {account} IDENTIFIED BY '{password}';\n");
        for (what, on) in rights {
            statements.push_str(&format!("GRANT {what} ON {on} TO {account};\n"));
        }
        self.sql("", &statements)?;
        Ok(())
    }

    /// Kills the server, as a power failure would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Shuts the server down.
    ///
    /// # Errors
    /// It does not end in a minute.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.process.terminate(PATIENCE)
    }

    /// Starts the server again on the same port and data, after a kill where it still runs.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.kill();
        self.process = launch(&self.folder, self.port)?;
        Ok(())
    }
}

fn socket(folder: &Path) -> String {
    folder.join("mariadbd.sock").display().to_string()
}

/// The empty data folder, with the monolith's time zone and without the users that need no name.
fn install(folder: &Path) -> anyhow::Result<()> {
    let file = format!("/usr/share/zoneinfo/{ZONE}");
    let zone = run(Command::new(first(&["mariadb-tzinfo-to-sql"])?).arg(file).arg(ZONE))
        .context("the time zone; package tzdata has it")?;
    let extra = folder.join("install.sql");
    let users = "DELETE FROM mysql.global_priv WHERE user = '';\n";
    fs::write(&extra, format!("USE mysql;\n{users}{zone}"))?;
    let mut install = Command::new(first(&["mariadb-install-db"])?);
    install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
    // Forced: it would refuse a machine whose own name does not resolve.
    install.args(["--force", "--skip-name-resolve", "--innodb-log-file-size=64M"]);
    install.arg(format!("--datadir={}", folder.join("data").display()));
    install.arg(format!("--extra-file={}", extra.display()));
    // A starting server clears its folder of temporary tables, another's too.
    install.arg(format!("--tmpdir={}", folder.display()));
    if is_root() {
        install.arg("--user=root");
    }
    run(&mut install)?;
    Ok(())
}

fn launch(folder: &Path, port: u16) -> anyhow::Result<Process> {
    let mut server = Command::new(first(&["mariadbd"])?);
    server.arg("--no-defaults").args(OPTIONS).arg(format!("--port={port}"));
    server.arg(format!("--datadir={}", folder.join("data").display()));
    server.arg(format!("--socket={}", socket(folder)));
    server.arg(format!("--pid-file={}", folder.join("mariadbd.pid").display()));
    server.arg(format!("--tmpdir={}", folder.display()));
    if is_root() {
        server.arg("--user=root");
    }
    let process = Process::spawn("mariadb", server, folder)?;
    wait_for("MariaDB's start", PATIENCE, || {
        anyhow::ensure!(process.is_running(), "mariadbd has ended");
        Ok(greets(port).then_some(()))
    })
    .with_context(|| {
        format!("MariaDB does not start; the end of its log:\n{}", process.log_tail(LOG_LINES))
    })?;
    Ok(process)
}

/// Whether the server greets a client: it opens its port before it serves.
fn greets(port: u16) -> bool {
    let greeting = || -> std::io::Result<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(GREETING_MAX))?;
        stream.read_exact(&mut [0; 5])
    };
    greeting().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Part, require};

    fn start() -> Option<(tempfile::TempDir, MariaDb)> {
        require(Part::MariaDb)?;
        let folder = tempfile::tempdir().unwrap();
        let server = MariaDb::start(folder.path()).unwrap();
        Some((folder, server))
    }

    #[test]
    fn it_is_a_primary_with_row_binlogs_and_durable_commits() {
        let Some((_folder, server)) = start() else { return };
        let asked = "SELECT @@binlog_format, @@binlog_row_image, @@binlog_row_metadata, @@sync_binlog,
            @@innodb_flush_log_at_trx_commit, @@log_bin, @@gtid_strict_mode, @@bind_address,
            CONVERT_TZ('2026-07-01 10:00:00', '+00:00', 'Europe/Berlin')";
        let said = server.sql("", asked).unwrap();
        let wanted = ["ROW", "FULL", "FULL", "1", "1", "1", "1", "127.0.0.1", "2026-07-01 12:00:00"];
        assert_eq!(said.trim().split('\t').collect::<Vec<_>>(), wanted);
        assert_eq!(server.sql("", "SELECT COUNT(*) FROM mysql.user WHERE user = ''").unwrap().trim(), "0");
    }

    #[test]
    fn a_committed_row_outlives_a_kill_and_a_zero_date_is_taken() {
        let Some((_folder, mut server)) = start() else { return };
        server.load_schema("shop", "CREATE TABLE t (d DATETIME NOT NULL);").unwrap();
        server.sql("shop", "INSERT INTO t VALUES ('0000-00-00 00:00:00')").unwrap();
        assert!(server.sql("shop", "INSERT INTO t VALUES ('yesterday')").is_err(), "the mode is strict");
        server.kill();
        assert!(server.sql("shop", "SELECT 1").is_err());
        server.restart().unwrap();
        assert_eq!(server.sql("shop", "SELECT * FROM t").unwrap(), "0000-00-00 00:00:00\n");
        server.stop().unwrap();
        assert!(!server.process().is_running());
        server.restart().unwrap();
        assert_eq!(server.sql("shop", "SELECT COUNT(*) FROM t").unwrap(), "1\n");
    }

    #[test]
    fn a_user_has_the_rights_that_it_was_given() {
        let Some((_folder, server)) = start() else { return };
        server.load_schema("shop", "CREATE TABLE open (a INT); CREATE TABLE shut (a INT);").unwrap();
        server.create_user("reader", "secret", &[("SELECT", "shop.open")]).unwrap();
        let ask = |table: &str| {
            let mut client = Command::new(first(&["mariadb"]).unwrap());
            client.args(["--no-defaults", "--host=127.0.0.1", "--user=reader", "--password=secret", "shop"]);
            run(client
                .arg(format!("--port={}", server.port()))
                .args(["--execute", &format!("SELECT * FROM {table}")]))
        };
        ask("open").unwrap();
        assert!(ask("shut").unwrap_err().to_string().contains("denied"));
    }
}
