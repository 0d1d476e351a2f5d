//! A monolith with a few users, auth beside it, and what a test asks of both.

use crate::servers::Servers;
use banyan_auth::{Config, Deps};
use banyan_core::Capability;
use banyan_core::protocol::identity::{CsrfCarriers, Identity, IdentityRequest};
use banyan_runtime::client::RoleClient;
use banyan_runtime::clock::Boot;
use banyan_runtime::http::serve;
use banyan_runtime::secrets::RoleToken;
use banyan_runtime::tasks::{OnError, Tasks};
use banyan_testkit::{Browser, curl};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;

const SESSION_COOKIE: &str = "fintech_connect_session";
const PATIENCE: Duration = Duration::from_secs(20);

/// The carriers of a CSRF token.
#[derive(Clone, Copy, Debug)]
pub struct Carriers<'c> {
    pub field: Option<&'c str>,
    pub header: Option<&'c str>,
    pub xsrf: Option<&'c str>,
}

/// The monolith and auth.
pub struct World {
    pub auth: RoleClient,
    servers: Servers,
    tasks: Tasks,
    folder: TempDir,
    browsers: AtomicU32,
}

impl World {
    /// Starts all; `None` where a program is missing.
    pub async fn start() -> Option<Self> {
        Self::start_with(Config::default()).await
    }

    /// Starts all with these options of auth.
    pub async fn start_with(config: Config) -> Option<Self> {
        let servers = Servers::start().await?;
        let folder = tempfile::tempdir().unwrap();
        let (tasks, token) = (Tasks::new(), RoleToken::new("secret of the roles"));
        let deps = Deps {
            data_dir: folder.path().into(),
            database_url: servers.database_url(),
            app_key: servers.app_key().into(),
            session_cookie: SESSION_COOKIE.into(),
            session_lifetime_minutes: 120,
            capabilities: [notifications()].into(),
            tasks: tasks.clone(),
            token: token.clone(),
        };
        let router = banyan_auth::start(config, deps).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tasks.spawn("auth", OnError::Log, serve(listener, router, tasks.shutdown()));
        let auth = RoleClient::new(&url, token);
        Some(Self { auth, servers, tasks, folder, browsers: AtomicU32::new(0) })
    }

    /// A browser without cookies.
    pub fn browser(&self) -> Browser {
        let number = self.browsers.fetch_add(1, Ordering::Relaxed);
        Browser::new(self.servers.base_url(), self.folder.path().join(format!("cookies-{number}")))
    }

    /// The name of the session cookie.
    pub fn session_cookie(&self) -> &'static str {
        SESSION_COOKIE
    }

    /// What the gateway sends.
    pub fn request(cookies: &str, carriers: Option<Carriers<'_>>) -> IdentityRequest {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let csrf = carriers.map(|c| CsrfCarriers {
            field: owned(c.field),
            header: owned(c.header),
            xsrf: owned(c.xsrf),
        });
        IdentityRequest { cookies: cookies.into(), csrf, audience: "notifications".into() }
    }

    /// What auth says.
    pub async fn identity(&self, cookies: &str, carriers: Option<Carriers<'_>>) -> Identity {
        self.auth.post("/v1/identity", &Self::request(cookies, carriers)).await.unwrap()
    }

    /// Whether the monolith takes the request for one of a user.
    pub async fn monolith_knows(&self, cookies: &str) -> bool {
        match self.ask_monolith("/api/notifications/unread-count", cookies, vec![]).await {
            200 => true,
            401 => false,
            status => panic!("the monolith answers {status}"),
        }
    }

    /// Whether a write gets past the monolith's CSRF check.
    pub async fn monolith_passes(&self, cookies: &str, carriers: Carriers<'_>) -> bool {
        let mut more = vec!["--data".into(), String::new()];
        if let Some(field) = carriers.field {
            more.extend(["--data-urlencode".into(), format!("_token={field}")]);
        }
        for (name, value) in [("X-CSRF-TOKEN", carriers.header), ("X-XSRF-TOKEN", carriers.xsrf)] {
            match value {
                // curl's way to send a header without a value.
                Some("") => more.extend(["--header".into(), format!("{name};")]),
                Some(value) => more.extend(["--header".into(), format!("{name}: {value}")]),
                None => {}
            }
        }
        match self.ask_monolith("/api/notifications/read-all", cookies, more).await {
            419 => false,
            200 | 401 => true,
            status => panic!("the monolith answers {status}"),
        }
    }

    async fn ask_monolith(&self, path: &str, cookies: &str, mut more: Vec<String>) -> u16 {
        more.extend(["--header".into(), "Accept: application/json".into()]);
        if !cookies.is_empty() {
            more.extend(["--header".into(), format!("Cookie: {cookies}")]);
        }
        curl(&format!("{}{path}", self.servers.base_url()), &more).await.status
    }

    /// A connection to the monolith's database.
    pub async fn connect(&self) -> Conn {
        Conn::new(Opts::from_url(&self.servers.root_url()).unwrap()).await.unwrap()
    }

    /// Runs a statement.
    pub async fn sql(&self, sql: &str) {
        self.connect().await.query_drop(sql).await.unwrap();
    }

    /// The first column of all rows.
    pub async fn numbers(&self, sql: &str) -> Vec<i64> {
        self.connect().await.query(sql).await.unwrap()
    }

    /// The id of a user as decimal text.
    pub async fn user_id(&self, email: &str) -> String {
        let ids = self.numbers(&format!("SELECT id FROM users WHERE email = '{email}'")).await;
        assert_eq!(ids.len(), 1, "{email}");
        ids[0].to_string()
    }

    /// Ends auth as the process does, after what is queued.
    pub async fn stop_auth(&self) {
        self.tasks.stop(PATIENCE).await;
    }

    /// Kills the database.
    pub async fn stop_database(&mut self) {
        self.servers.stop_database().await;
    }

    /// Starts the database again.
    pub async fn restart_database(&mut self) {
        self.servers.restart_database().await;
    }
}

fn notifications() -> Capability {
    let declared = serde_json::json!({
        "name": "notifications",
        "owner": "team",
        "service": "http://127.0.0.1:1",
        "routes": [{
            "method": "POST", "path": "/unsubscribe", "kind": "write", "csrf": false,
            "subject": { "from": "lookup", "field": "email", "lookup": "users.email" },
        }],
        "tables": [],
    });
    serde_json::from_value(declared).unwrap()
}

/// Waits for a condition, with a deadline.
pub async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Boot::now().plus(PATIENCE);
    while !condition().await {
        assert!(Boot::now() < deadline, "not true within {PATIENCE:?}: {what}");
    }
}
