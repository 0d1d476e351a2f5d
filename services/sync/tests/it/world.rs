//! A monolith's database, sync, and a service; what a test does with them.

use crate::peer::Peer;
use crate::server::{Server, number};
use banyan_core::capability::Capability;
use banyan_core::protocol::monolith::{Applied, FenceSet, OfCapability, SyncStatus};
use banyan_core::row::FenceOwner;
use banyan_core::{Bucket, BucketSet, OwnerEpoch, Turn};
use banyan_runtime::client::{CallError, RoleClient};
use banyan_runtime::clock::Boot;
use banyan_runtime::http::serve;
use banyan_runtime::secrets::RoleToken;
use banyan_runtime::tasks::{OnError, Tasks};
use banyan_sync::{Config, Deps};
use mysql_async::prelude::{FromRow, Queryable as _};
use mysql_async::{Conn, Opts};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// How long a condition may take.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The capability of most tests.
pub const CAPABILITY: &str = "notifications";

/// The tables of the capability, smaller than the monolith's.
const SCHEMA: &str = "
CREATE TABLE users (id bigint unsigned AUTO_INCREMENT PRIMARY KEY, name varchar(100) NOT NULL, email varchar(190) NOT NULL,
  password varchar(255) NOT NULL DEFAULT '', deleted_at datetime NULL, UNIQUE KEY (email));
CREATE TABLE sessions (id varchar(40) PRIMARY KEY, payload text NOT NULL);
CREATE TABLE notifications (id bigint unsigned AUTO_INCREMENT PRIMARY KEY, user_id bigint unsigned NOT NULL,
  type enum('payment','reminder','security','system') NOT NULL DEFAULT 'system', title varchar(160) NOT NULL, body text NULL,
  data JSON NULL, priority smallint NOT NULL DEFAULT 0, is_read tinyint(1) NOT NULL DEFAULT 0, read_at datetime NULL,
  mail_state enum('none','pending','claimed','sent') NOT NULL DEFAULT 'none', mailed_at datetime NOT NULL DEFAULT '0000-00-00 00:00:00',
  created_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP, updated_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  trace varchar(55) NULL, KEY (user_id));
CREATE TABLE notification_preferences (user_id bigint unsigned PRIMARY KEY, email_enabled tinyint(1) NOT NULL DEFAULT 1,
  salutation varchar(60) CHARACTER SET latin1 NULL);
CREATE TABLE notification_activity (id bigint unsigned AUTO_INCREMENT PRIMARY KEY, user_id bigint unsigned NOT NULL,
  action varchar(30) NOT NULL, created_at datetime NOT NULL, KEY (user_id));
";

/// The capability as declared.
pub fn notifications() -> Capability {
    capability(&serde_json::json!([
        {"name": "notifications", "key": "id", "subject": "user_id", "leases_ids": true,
         "trace_column": "trace", "stray_insert": "import", "stray_update": "import"},
        {"name": "notification_preferences", "key": "user_id", "subject": "user_id"},
        {"name": "notification_activity", "key": "id", "subject": "user_id", "leases_ids": true},
        {"name": "users", "key": "id", "subject": "id", "role": "reference", "columns": ["id", "name", "email"]},
    ]))
}

/// A capability with these tables.
pub fn capability(tables: &Value) -> Capability {
    let declared = serde_json::json!({
        "name": CAPABILITY, "owner": "team", "service": "http://127.0.0.1:1", "routes": [], "tables": tables,
    });
    serde_json::from_value(declared).unwrap()
}

/// Options that make tests quick.
pub fn quick() -> Config {
    Config { heartbeat_ms: 20, position_ms: 10, retry_ms_max: 200, reverse_wait_ms: 200, ..Config::default() }
}

/// The bucket of a user.
pub fn bucket(user: u64) -> BucketSet {
    [Bucket::of(&user.to_string())].into_iter().collect()
}

/// The world.
pub struct World {
    pub server: Arc<Server>,
    pub schema: String,
    pub capability: Capability,
    pub peer: Peer,
    pub sync: RoleClient,
    service: RoleClient,
    token: RoleToken,
    config: Config,
    service_tasks: Tasks,
    sync_tasks: Tasks,
}

impl World {
    /// The notifications and their service, without sync; `None` where MariaDB is missing.
    pub async fn build() -> Option<Self> {
        Some(Self::build_on(Server::shared()?, SCHEMA, notifications()).await)
    }

    /// The notifications with sync, the fence installed and all rows copied.
    pub async fn start() -> Option<Self> {
        let mut world = Self::build().await?;
        world.start_sync(quick()).await;
        world.install().await;
        world.until_copied().await;
        Some(world)
    }

    /// The same on a server that may be killed.
    pub async fn start_alone() -> Option<Self> {
        let mut world = Self::build_on(Server::own()?, SCHEMA, notifications()).await;
        world.start_sync(quick()).await;
        world.install().await;
        world.until_copied().await;
        Some(world)
    }

    /// Other tables, without sync.
    pub async fn build_on(server: Arc<Server>, tables: &str, capability: Capability) -> Self {
        let schema = format!("shop_{}", number());
        server.with(|mariadb| mariadb.load_schema(&schema, tables)).unwrap();
        let peer = Peer::new(&capability.tables);
        let (service_tasks, token) = (Tasks::new(), RoleToken::new("secret of the roles"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = RoleClient::new(&format!("http://{}", listener.local_addr().unwrap()), token.clone());
        let router = peer.clone().router();
        service_tasks.spawn("service", OnError::Log, serve(listener, router, service_tasks.shutdown()));
        let config = Config::default();
        let (sync, sync_tasks) = (service.clone(), Tasks::new());
        Self { server, schema, capability, peer, sync, service, token, config, service_tasks, sync_tasks }
    }

    /// Starts sync.
    pub async fn start_sync(&mut self, config: Config) {
        self.config = Config { server_id: 1000 + number() * 10, ..config };
        self.sync_tasks = Tasks::new();
        let deps = Deps {
            database_url: self.banyan_url(),
            timezone: "Europe/Berlin".into(),
            capabilities: [self.capability.clone()].into(),
            services: [(CAPABILITY.to_owned(), self.service.clone())].into(),
            tasks: self.sync_tasks.clone(),
            token: self.token.clone(),
        };
        let router = banyan_sync::start(self.config.clone(), deps).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        self.sync_tasks.spawn("sync http", OnError::Log, serve(listener, router, self.sync_tasks.shutdown()));
        self.sync = RoleClient::new(&url, self.token.clone());
    }

    /// Kills sync as far as a process can be killed from inside: whatever runs is dropped.
    pub async fn stop_sync(&self) {
        self.sync_tasks.stop(Duration::ZERO).await;
    }

    /// Ends everything.
    pub async fn stop(self) {
        self.sync_tasks.stop(Duration::from_secs(5)).await;
        self.service_tasks.stop(Duration::from_secs(5)).await;
        self.server.with(|mariadb| mariadb.sql("", &format!("DROP DATABASE {}", self.schema))).unwrap();
    }

    pub fn banyan_url(&self) -> String {
        self.server.with(|mariadb| mariadb.url("banyan", "secret", &self.schema))
    }

    /// A connection of the monolith.
    pub async fn connect(&self) -> Conn {
        let url = self.server.with(|mariadb| mariadb.root_url(&self.schema));
        let mut connection = Conn::new(Opts::from_url(&url).unwrap()).await.unwrap();
        connection
            .query_drop("SET time_zone = 'Europe/Berlin', innodb_lock_wait_timeout = 20")
            .await
            .unwrap();
        connection
    }

    /// Runs a statement of the monolith.
    pub async fn sql(&self, sql: &str) {
        self.try_sql(sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    /// Runs a statement of the monolith that may be refused; the rows that it changed.
    pub async fn try_sql(&self, sql: &str) -> Result<u64, mysql_async::Error> {
        let mut connection = self.connect().await;
        connection.query_drop(sql).await?;
        Ok(connection.affected_rows())
    }

    /// The SQLSTATE with which a statement is refused.
    pub async fn refused(&self, sql: &str) -> String {
        match self.try_sql(sql).await {
            Err(mysql_async::Error::Server(error)) => error.state,
            other => panic!("not refused: {other:?}: {sql}"),
        }
    }

    /// All rows of a query.
    pub async fn rows<T: FromRow + Send + 'static>(&self, sql: &str) -> Vec<T> {
        self.connect().await.query(sql).await.unwrap()
    }

    /// The only value of a query.
    pub async fn number(&self, sql: &str) -> u64 {
        self.rows::<u64>(sql).await[0]
    }

    pub fn of(&self) -> OfCapability {
        OfCapability { capability: CAPABILITY.into() }
    }

    pub async fn install(&self) {
        let _: Value = self.sync.post("/v1/fence/install", &self.of()).await.unwrap();
    }

    pub async fn status(&self) -> SyncStatus {
        self.sync.get(&format!("/v1/status?capability={CAPABILITY}")).await.unwrap()
    }

    pub async fn until_copied(&self) {
        until("everything is copied", async || {
            let status = self.status().await;
            status.copied && status.forward_live && status.reverse_live && status.faults.is_empty()
        })
        .await;
    }

    pub async fn until_copied_without_fence(&self) {
        until("everything is copied", async || {
            let status = self.status().await;
            status.copied && status.forward_live && status.faults.is_empty()
        })
        .await;
    }

    /// Waits until the service has applied what the monolith has committed so far.
    pub async fn carried(&self) {
        let row = self.rows::<mysql_async::Row>("SHOW MASTER STATUS").await.remove(0);
        let (file, offset): (String, u64) = (row.get(0).unwrap(), row.get(1).unwrap());
        let end = banyan_core::protocol::import::BinlogPosition { file, offset };
        until("the binlog is applied", async || {
            self.peer.memory().position.as_ref().is_some_and(|position| *position >= end)
        })
        .await;
    }

    /// Waits until the monolith holds the outbox up to a position.
    pub async fn reversed(&self, position: u64) {
        let sql = "SELECT COALESCE(MAX(position), 0) FROM banyan_tag WHERE capability = 'notifications'";
        until("the outbox is written", async || self.number(sql).await >= position).await;
    }

    /// Sets the fence.
    pub async fn fence(&self, buckets: BucketSet, owner: FenceOwner, epoch: u64) -> bool {
        let turn = Turn { term: 1, attempt: epoch, step: number() };
        self.try_fence(buckets, owner, turn).await.unwrap().applied
    }

    pub async fn try_fence(
        &self,
        buckets: BucketSet,
        owner: FenceOwner,
        turn: Turn,
    ) -> Result<Applied, CallError> {
        let owner_epoch = OwnerEpoch(turn.attempt);
        let command = FenceSet { capability: CAPABILITY.into(), turn, buckets, owner, owner_epoch };
        self.sync.post("/v1/fence/set", &command).await
    }
}

/// Waits for a condition, with a deadline.
pub async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Boot::now().plus(PATIENCE);
    while !condition().await {
        assert!(Boot::now() < deadline, "not true within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
