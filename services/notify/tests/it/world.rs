//! notify with its peers, and what gateway, control and sync ask of it.

use crate::peers::Peers;
use crate::smtp::Smtp;
use banyan_core::protocol::import::{
    BinlogPosition, CopyChunk, ImportBatch, ImportOutcome, ImportState, ImportTrace,
};
use banyan_core::protocol::monolith::Applied;
use banyan_core::protocol::target::{
    OutboxEvent, OutboxPage, OwnershipClose, OwnershipOpen, RowsPage, TargetOwnership,
};
use banyan_core::row::{Change, FenceChange, FenceOwner};
use banyan_core::{Bucket, BucketSet, Capability, OwnerEpoch, Row, Turn};
use banyan_notify::{Config, Deps};
use banyan_runtime::client::{CallError, RoleClient};
use banyan_runtime::clock::Boot;
use banyan_runtime::http::serve;
use banyan_runtime::secrets::RoleToken;
use banyan_runtime::tasks::{OnError, Tasks};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Request, header::HeaderMap};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;

pub const PATIENCE: Duration = Duration::from_secs(20);
pub const APP_KEY: &str = "0123456789abcdef";
const TOKEN: &str = "secret of the roles";

/// notify and its peers.
pub struct World {
    pub role: RoleClient,
    pub peers: Peers,
    pub smtp: Smtp,
    pub folder: TempDir,
    pub tasks: Tasks,
    peer_tasks: Tasks,
    config: Config,
    app_key: String,
    steps: AtomicU64,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

/// A request of a user, as the gateway passes it on.
pub struct Ask<'w> {
    world: &'w World,
    target: (String, String),
    headers: Vec<(String, String)>,
    body: String,
}

impl Ask<'_> {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn epoch(self, epoch: u64) -> Self {
        self.header("banyan-owner-epoch", &epoch.to_string())
    }

    pub fn body(mut self, body: &str) -> Self {
        self.body = body.into();
        self
    }

    pub fn json(mut self, body: Value) -> Self {
        self.body = body.to_string();
        self.header("content-type", "application/json")
    }

    pub fn form(mut self, fields: &[(&str, &str)]) -> Self {
        let mut form = form_urlencoded::Serializer::new(String::new());
        self.body = form.extend_pairs(fields).finish();
        self.header("content-type", "application/x-www-form-urlencoded").header("accept", "text/html")
    }

    pub async fn send(self) -> Answer {
        let (method, path) = &self.target;
        let url = format!("{}{path}", self.world.role.base_url());
        let mut request = Request::builder().method(method.as_str()).uri(url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let answer = client.request(request.body(Full::new(Bytes::from(self.body))).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }
}

/// The owner epoch in which [`World::owned`] opens all buckets.
pub const EPOCH: u64 = 5;

impl World {
    pub async fn start() -> Self {
        Self::start_with(Config::default()).await
    }

    pub async fn start_with(config: Config) -> Self {
        Self::start_with_key(config, APP_KEY).await
    }

    async fn start_with_key(config: Config, app_key: &str) -> Self {
        let (peer_tasks, smtp) = (Tasks::new(), Smtp::start().await);
        let peers = Peers::start(&peer_tasks, &RoleToken::new(TOKEN)).await;
        let config = Config {
            smtp: smtp.address.clone(),
            from: "FinTech Connect <noreply@shop.example>".into(),
            public_url: "https://shop.example".into(),
            ..config
        };
        let folder = tempfile::tempdir().unwrap();
        let (tasks, role) = (Tasks::new(), RoleClient::new("http://127.0.0.1:1", RoleToken::new(TOKEN)));
        let steps = AtomicU64::new(1);
        let app_key = app_key.to_owned();
        let mut world = Self { role, peers, smtp, folder, tasks, peer_tasks, config, app_key, steps };
        world.serve().await;
        world
    }

    /// Everything copied, every bucket owned, a lease and ids there.
    pub async fn owned() -> Self {
        Self::owned_with(Config::default()).await
    }

    pub async fn owned_with(config: Config) -> Self {
        Self::start_with(config).await.into_owned().await
    }

    /// As [`World::owned`], with this key of Laravel's.
    pub async fn owned_with_key(app_key: &str) -> Self {
        Self::start_with_key(Config::default(), app_key).await.into_owned().await
    }

    async fn into_owned(self) -> Self {
        let world = self;
        world.copy().await;
        world.import(vec![fence(FenceOwner::Moving, BucketSet::all(), EPOCH)]).await;
        assert!(world.open(BucketSet::all(), EPOCH).await);
        world.import(vec![fence(FenceOwner::Service, BucketSet::all(), EPOCH)]).await;
        world.ready().await;
        world
    }

    async fn serve(&mut self) {
        let deps = Deps {
            data_dir: self.folder.path().into(),
            capability: capability(),
            app_key: self.app_key.clone(),
            timezone: "Europe/Berlin".into(),
            auth: self.peers.client.clone(),
            control: self.peers.client.clone(),
            sync: self.peers.client.clone(),
            tasks: self.tasks.clone(),
            token: RoleToken::new(TOKEN),
        };
        let router = banyan_notify::start(self.config.clone(), deps).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        self.tasks.spawn("notify", OnError::Log, serve(listener, router, self.tasks.shutdown()));
        self.role = RoleClient::new(&url, RoleToken::new(TOKEN));
    }

    /// Ends notify, runs `between`, and starts it again on the same file.
    pub async fn restart(&mut self, between: impl AsyncFnOnce(&std::path::Path)) {
        self.tasks.stop(PATIENCE).await;
        let file = self.folder.path().join("notify.db");
        let lock = file.with_added_extension("lock");
        until("the file is let go", async || std::fs::File::open(&lock).unwrap().try_lock().is_ok()).await;
        between(&file).await;
        self.tasks = Tasks::new();
        self.serve().await;
    }

    /// Starts notify again with another SMTP server.
    pub async fn mail_to(&mut self, address: String) {
        self.config.smtp = address;
        self.restart(async |_| {}).await;
        self.ready().await;
    }

    /// Waits for a lease and for ids.
    pub async fn ready(&self) {
        until("the service is leased", async || self.ownership().await.leased).await;
        let path = self.folder.path().join("notify.db");
        until("there are ids", async || {
            let db = rusqlite::Connection::open(&path).unwrap();
            db.query_row("SELECT COUNT(*) FROM id_blocks", [], |row| row.get::<_, i64>(0)).unwrap() == 2
        })
        .await;
    }

    fn turn(&self, attempt: u64) -> Turn {
        let step = u32::try_from(self.steps.fetch_add(1, Ordering::Relaxed)).unwrap();
        Turn { term: 1, attempt, step }
    }

    pub async fn open(&self, buckets: BucketSet, epoch: u64) -> bool {
        self.try_open(buckets, epoch).await.unwrap()
    }

    pub async fn try_open(&self, buckets: BucketSet, epoch: u64) -> Result<bool, CallError> {
        let request = OwnershipOpen { turn: self.turn(epoch), buckets, owner_epoch: OwnerEpoch(epoch) };
        self.role.post::<_, Applied>("/v1/ownership/open", &request).await.map(|answer| answer.applied)
    }

    pub async fn close(&self, buckets: BucketSet, epoch: u64) -> bool {
        let request = OwnershipClose { turn: self.turn(epoch), buckets, owner_epoch: OwnerEpoch(epoch) };
        self.role.post::<_, Applied>("/v1/ownership/close", &request).await.unwrap().applied
    }

    pub async fn ownership(&self) -> TargetOwnership {
        self.role.get("/v1/ownership").await.unwrap()
    }

    /// A request of user 7.
    pub fn ask(&self, method: &str, path: &str) -> Ask<'_> {
        self.ask_as("7", method, path)
    }

    pub fn ask_as(&self, user: &str, method: &str, path: &str) -> Ask<'_> {
        let ask =
            Ask { world: self, target: (method.into(), path.into()), headers: vec![], body: String::new() };
        let token = self.peers.token(user, "notifications");
        ask.header("banyan-role-token", TOKEN)
            .header("banyan-identity", &token)
            .header("banyan-subject", user)
            .header("accept", "application/json")
            .header("host", "shop.example")
            .epoch(EPOCH)
    }

    pub async fn import_state(&self) -> ImportState {
        self.role.get("/v1/import").await.unwrap()
    }

    /// Imports changes behind the present position.
    pub async fn import(&self, changes: Vec<Change>) -> ImportOutcome {
        self.try_import(changes, None).await.unwrap()
    }

    /// Imports changes that belong to traces.
    pub async fn import_traced(&self, changes: Vec<Change>, traces: Vec<ImportTrace>) -> ImportOutcome {
        let from = self.import_state().await.position;
        let to = position(from.as_ref().map_or(0, |from| from.offset) + 100);
        self.role.post("/v1/import", &ImportBatch { from, to, changes, chunk: None, traces }).await.unwrap()
    }

    pub async fn try_import(
        &self,
        changes: Vec<Change>,
        chunk: Option<CopyChunk>,
    ) -> Result<ImportOutcome, CallError> {
        let from = self.import_state().await.position;
        let to = position(from.as_ref().map_or(0, |from| from.offset) + 100);
        self.role.post("/v1/import", &ImportBatch { from, to, changes, chunk, traces: Vec::new() }).await
    }

    /// Copies a small shop: users 7 and 8, some notifications of user 7.
    pub async fn copy(&self) {
        let users: Vec<Row> = [(7, "Zoë", "zoe@example.com", None), (8, "Max", "max@example.com", None)]
            .map(|(id, name, email, gone): (u64, _, _, Option<&str>)| {
                row(json!({"id": id, "name": name, "email": email, "deleted_at": gone}))
            })
            .into();
        let notifications = vec![
            notification(1, json!({})),
            notification(2, json!({"is_read": 1, "read_at": "2026-11-02 10:00:00"})),
        ];
        for (table, rows) in [
            ("users", users),
            ("notifications", notifications),
            ("notification_preferences", vec![]),
            ("notification_activity", vec![]),
        ] {
            let chunk = CopyChunk { table: table.into(), rows, through: None, done: true };
            self.try_import(vec![], Some(chunk)).await.unwrap();
        }
    }

    /// All events above a position.
    pub async fn events(&self, after: u64) -> Vec<OutboxEvent> {
        self.page(after).await.events
    }

    pub async fn page(&self, after: u64) -> OutboxPage {
        self.role.get(&format!("/v1/outbox?after={after}&limit=1000&wait_ms=0")).await.unwrap()
    }

    pub async fn rows(&self, table: &str) -> Vec<Row> {
        let page: RowsPage =
            self.role.get(&format!("/v1/rows?table={table}&after=0&limit=1000")).await.unwrap();
        assert!(!page.more);
        page.rows
    }

    /// One notification, in the monolith's shape.
    pub async fn row(&self, id: u64) -> Option<Row> {
        self.rows("notifications").await.into_iter().find(|row| row["id"] == id)
    }

    pub async fn mail_state(&self, id: u64) -> String {
        self.row(id).await.map_or("no row".into(), |row| row["mail_state"].as_str().unwrap().to_owned())
    }

    pub async fn stop_peers(&self) {
        self.peer_tasks.stop(PATIENCE).await;
    }
}

pub fn position(offset: u64) -> BinlogPosition {
    BinlogPosition { file: "binlog.000001".into(), offset }
}

pub fn row(value: Value) -> Row {
    serde_json::from_value(value).unwrap()
}

/// A notification of user 7 as the monolith has it, with some columns changed.
pub fn notification(id: u64, change: Value) -> Row {
    let mut row = row(json!({
        "id": id, "user_id": 7, "type": "payment", "title": format!("Payment {id}"), "body": null,
        "data": "{\"payment_id\":5,\"reference\":\"r/ü\"}", "priority": 0, "is_read": 0, "read_at": null,
        "mail_state": "none", "mailed_at": "0000-00-00 00:00:00", "created_at": "2026-11-01 09:30:00",
        "updated_at": "2026-11-01 09:30:00", "deleted_at": null,
    }));
    for (column, value) in change.as_object().unwrap() {
        row.insert(column.clone(), value.clone());
    }
    row
}

pub fn insert(table: &str, after: Row) -> Change {
    Change::Insert { table: table.into(), after }
}

pub fn update(before: Row, after: Row) -> Change {
    Change::Update { table: "notifications".into(), before, after }
}

pub fn fence(owner: FenceOwner, buckets: BucketSet, epoch: u64) -> Change {
    Change::Fence(FenceChange { buckets, owner, owner_epoch: OwnerEpoch(epoch) })
}

/// The bucket of a user.
pub fn of(user: &str) -> BucketSet {
    [Bucket::of(user)].into_iter().collect()
}

/// The declaration that `banyan init` writes, as far as this service reads it.
pub fn capability() -> Capability {
    serde_json::from_value(json!({
        "name": "notifications", "owner": "team", "service": "http://127.0.0.1:1", "routes": [],
        "tables": [
            { "name": "notifications", "key": "id", "subject": "user_id", "leases_ids": true,
              "stray_insert": "import", "stray_update": "import" },
            { "name": "notification_preferences", "key": "user_id", "subject": "user_id",
              "stray_insert": "import" },
            { "name": "notification_activity", "key": "id", "subject": "user_id", "leases_ids": true },
            { "name": "users", "key": "id", "subject": "id", "role": "reference",
              "columns": ["id", "name", "email", "deleted_at"] },
        ],
    }))
    .unwrap()
}

/// Waits for a condition, with a deadline.
pub async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Boot::now().plus(PATIENCE);
    while !condition().await {
        assert!(Boot::now() < deadline, "not true within {PATIENCE:?}: {what}");
        tokio::task::yield_now().await;
    }
}
