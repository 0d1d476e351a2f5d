//! The monolith's servers with ten users, anew for each test: tests end sessions, delete users and stop the
//! database.

use banyan_testkit::{MariaDb, Monolith, MonolithConfig, Part, free_port, require};
use tempfile::TempDir;

/// What auth may do, as `banyan check` asks for it.
const RIGHTS: [(&str, &str); 2] = [("SELECT, UPDATE", "shop.sessions"), ("SELECT", "shop.users")];
const USER: &str = "banyan";
const PASSWORD: &str = "secret";

/// All servers. Fields end in their order: the folder last.
pub struct Servers {
    monolith: Monolith,
    database: MariaDb,
    _folder: TempDir,
}

impl Servers {
    /// Starts and seeds them; `None` where a program is missing.
    pub async fn start() -> Option<Self> {
        require(Part::Monolith)?;
        require(Part::Curl)?;
        Some(tokio::task::spawn_blocking(Self::start_blocking).await.unwrap())
    }

    fn start_blocking() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = MariaDb::start(folder.path()).unwrap();
        // Neither payments nor mails are asked for: nothing listens there.
        let config = MonolithConfig {
            folder: folder.path().into(),
            database: &database,
            provider_url: format!("http://127.0.0.1:{}", free_port().unwrap()),
            smtp_port: free_port().unwrap(),
            php_workers: 4,
        };
        let monolith = Monolith::start(config).unwrap();
        monolith.artisan(&["db:seed-shop", "--users=10"]).unwrap();
        database.create_user(USER, PASSWORD, &RIGHTS).unwrap();
        Self { monolith, database, _folder: folder }
    }

    /// The monolith's base URL.
    pub fn base_url(&self) -> &str {
        self.monolith.base_url()
    }

    /// Laravel's key.
    pub fn app_key(&self) -> &str {
        self.monolith.app_key()
    }

    /// The database as auth sees it.
    pub fn database_url(&self) -> String {
        self.database.url(USER, PASSWORD, "shop")
    }

    /// The database as its administrator sees it.
    pub fn root_url(&self) -> String {
        self.database.root_url("shop")
    }

    /// Kills the database.
    pub async fn stop_database(&mut self) {
        self.database.kill();
    }

    /// Starts the database again.
    pub async fn restart_database(&mut self) {
        self.database.restart().unwrap();
    }
}
