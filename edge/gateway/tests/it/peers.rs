//! What stands for auth and control: small servers that speak their protocol, and do what a test says.

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, post};
use axum::{Json, Router};
use banyan_core::ownership::BucketTable;
use banyan_core::protocol::identity::{Identity, IdentityRequest, LookupAnswer, LookupRequest, User};
use banyan_core::protocol::lease::{LeaseGrant, LeaseRequest};
use banyan_core::{Bucket, Holding, OwnerEpoch, OwnershipTable, Phase, Side};
use banyan_runtime::http::{Problem, role_only, serve};
use banyan_runtime::secrets::RoleToken;
use banyan_runtime::tasks::{OnError, Tasks};
use http::StatusCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The lease that control grants, unless a test says otherwise.
pub const LEASE_MS: u64 = 3_000;

async fn listen(router: Router, tasks: &Tasks) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tasks.spawn("peer", OnError::Log, serve(listener, router, tasks.shutdown()));
    url
}

/// auth: the session cookie is the user's id, `good` is the token against forgery, `u7@x` belongs to user 7.
#[derive(Clone, Default)]
pub struct Auth(Arc<Mutex<AuthState>>);

#[derive(Default)]
struct AuthState {
    asked: Vec<IdentityRequest>,
    cache_ms: u64,
    down: bool,
}

impl Auth {
    /// Starts it; its URL.
    pub async fn start(&self, token: &RoleToken, tasks: &Tasks) -> String {
        let routes = Router::new()
            .route("/v1/identity", post(identity))
            .route("/v1/lookup", post(lookup))
            .with_state(self.clone());
        listen(role_only(routes, token), tasks).await
    }

    /// How long answers may be kept.
    pub fn set_cache_ms(&self, ms: u64) {
        self.0.lock().unwrap().cache_ms = ms;
    }

    /// Has it fail, or work again.
    pub fn set_down(&self, down: bool) {
        self.0.lock().unwrap().down = down;
    }

    /// The questions so far.
    pub fn asked(&self) -> Vec<IdentityRequest> {
        self.0.lock().unwrap().asked.clone()
    }
}

async fn identity(State(auth): State<Auth>, Json(request): Json<IdentityRequest>) -> Response {
    let mut state = auth.0.lock().unwrap();
    state.asked.push(request.clone());
    if state.down {
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "session_store_unavailable", "down")
            .into_response();
    }
    let session = request.cookies.split("; ").find_map(|c| c.strip_prefix("shop_session="));
    let user = session.filter(|s| s.bytes().all(|b| b.is_ascii_digit())).map(|subject| User {
        subject: subject.into(),
        token: format!("jwt-of-{subject}-for-{}", request.audience),
        cache_ms: state.cache_ms,
    });
    let csrf_valid =
        request.csrf.is_none_or(|c| c.field.or(c.header).or(c.xsrf).is_some_and(|token| token == "good"));
    Json(Identity { user, csrf_valid }).into_response()
}

async fn lookup(State(auth): State<Auth>, Json(request): Json<LookupRequest>) -> Response {
    if auth.0.lock().unwrap().down {
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "session_store_unavailable", "down")
            .into_response();
    }
    assert_eq!(request.lookup, "users.email");
    let subject = request.value.strip_prefix('u').and_then(|v| v.strip_suffix("@x")).map(str::to_owned);
    Json(LookupAnswer { subject }).into_response()
}

/// control: grants leases on a table that a test changes, and remembers what gateways report.
#[derive(Clone)]
pub struct Control(Arc<Mutex<ControlState>>, watch::Sender<u64>);

struct ControlState {
    table: OwnershipTable,
    lease_ms: u64,
    down: bool,
    reports: Vec<LeaseRequest>,
    given_back: Vec<String>,
}

impl Default for Control {
    fn default() -> Self {
        let capabilities = [("notifications".to_owned(), BucketTable::default())].into();
        let table = OwnershipTable { version: 1, capabilities };
        let state = ControlState {
            table,
            lease_ms: LEASE_MS,
            down: false,
            reports: Vec::new(),
            given_back: Vec::new(),
        };
        Self(Arc::new(Mutex::new(state)), watch::channel(1).0)
    }
}

impl Control {
    /// Starts it; its URL.
    pub async fn start(&self, token: &RoleToken, tasks: &Tasks) -> String {
        let routes = Router::new()
            .route("/v1/leases", post(renew))
            .route("/v1/leases/{holder}", delete(give_back))
            .with_state(self.clone());
        listen(role_only(routes, token), tasks).await
    }

    /// Changes the buckets of these subjects; the new version.
    pub fn set(&self, subjects: &[&str], to: (Side, Phase, u64)) -> u64 {
        let mut state = self.0.lock().unwrap();
        state.table.version += 1;
        let version = state.table.version;
        let table = state.table.capabilities.get_mut("notifications").unwrap();
        let (owner, phase, epoch) = to;
        let holding = Holding { owner, phase, owner_epoch: OwnerEpoch(epoch) };
        subjects.iter().for_each(|subject| table.set(Bucket::of(subject), holding));
        self.1.send_replace(version);
        version
    }

    /// Has it fail, or work again.
    pub fn set_down(&self, down: bool) {
        self.0.lock().unwrap().down = down;
        self.1.send_modify(|_| ());
    }

    /// The length of the leases from now on.
    pub fn set_lease_ms(&self, ms: u64) {
        self.0.lock().unwrap().lease_ms = ms;
    }

    /// What has been reported.
    pub fn reports(&self) -> Vec<LeaseRequest> {
        self.0.lock().unwrap().reports.clone()
    }

    /// Whether a gateway has acknowledged a version, with these buckets undrained.
    pub fn is_acknowledged(&self, version: u64, undrained: &[&str]) -> bool {
        let wanted = undrained.iter().map(|subject| Bucket::of(subject)).collect();
        self.reports().last().is_some_and(|report| {
            let reported = report.undrained.get("notifications");
            report.seen_version == version
                && reported.cloned().unwrap_or_else(banyan_core::BucketSet::empty) == wanted
        })
    }

    /// The holders that have given their lease back.
    pub fn given_back(&self) -> Vec<String> {
        self.0.lock().unwrap().given_back.clone()
    }
}

async fn renew(State(control): State<Control>, Json(request): Json<LeaseRequest>) -> Response {
    assert!(request.wait_ms <= LEASE_MS / 3, "{request:?}");
    let mut changed = control.1.subscribe();
    control.0.lock().unwrap().reports.push(request.clone());
    let newer = async {
        while control.0.lock().unwrap().table.version <= request.seen_version {
            changed.changed().await.unwrap();
            if control.0.lock().unwrap().down {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_millis(request.wait_ms), newer).await;
    let state = control.0.lock().unwrap();
    if state.down {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let version = state.table.version;
    let table = (version > request.seen_version).then(|| state.table.clone());
    Json(LeaseGrant { lease_ms: state.lease_ms, version, table, forced: Vec::new() }).into_response()
}

async fn give_back(State(control): State<Control>, Path(holder): Path<String>) -> StatusCode {
    control.0.lock().unwrap().given_back.push(holder);
    StatusCode::NO_CONTENT
}
