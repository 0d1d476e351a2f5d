//! What stands for control and auth: leases on a table that the test moves, sessions that are user ids.

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, post};
use axum::{Json, Router};
use banyan_core::ownership::BucketTable;
use banyan_core::protocol::identity::{Identity, IdentityRequest, User};
use banyan_core::protocol::lease::{LeaseGrant, LeaseRequest};
use banyan_core::{Bucket, Holding, OwnerEpoch, OwnershipTable, Phase, Side};
use banyan_runtime::clock::Boot;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// Longer than a busy machine keeps a process from renewing.
const LEASE_MS: u64 = 60_000;

/// auth: the session cookie is the user's id, and every token against forgery is right.
pub fn auth() -> Router {
    Router::new().route("/v1/identity", post(identity))
}

async fn identity(Json(request): Json<IdentityRequest>) -> Json<Identity> {
    let session = request.cookies.split("; ").find_map(|c| c.strip_prefix("shop_session="));
    let user = session.map(|subject| User { subject: subject.into(), token: "jwt".into(), cache_ms: 0 });
    Json(Identity { user, csrf_valid: true })
}

/// control.
#[derive(Clone)]
pub struct Control {
    state: Arc<Mutex<Leases>>,
    news: watch::Sender<u64>,
}

struct Leases {
    table: OwnershipTable,
    holders: BTreeMap<String, Holder>,
    /// Whether holders that are not known yet get a lease.
    is_open: bool,
}

struct Holder {
    seen: u64,
    drained: bool,
    until: Boot,
}

impl Control {
    /// Every bucket belongs to the monolith.
    pub fn new() -> Self {
        let capabilities = [("notifications".to_owned(), BucketTable::default())].into();
        let table = OwnershipTable { version: 1, capabilities };
        let state = Leases { table, holders: BTreeMap::new(), is_open: true };
        Self { state: Arc::new(Mutex::new(state)), news: watch::channel(1).0 }
    }

    /// Its routes.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/v1/leases", post(renew))
            .route("/v1/leases/{holder}", delete(give_back))
            .with_state(self.clone())
    }

    /// Who owns a subject's bucket now.
    pub fn owner(&self, subject: &str) -> Holding {
        self.state.lock().unwrap().table.capabilities["notifications"].get(Bucket::of(subject))
    }

    /// Changes the bucket of a subject; the new version.
    pub fn set(&self, subject: &str, (owner, phase, epoch): (Side, Phase, u64)) -> u64 {
        let mut state = self.state.lock().unwrap();
        state.table.version += 1;
        let version = state.table.version;
        let holding = Holding { owner, phase, owner_epoch: OwnerEpoch(epoch) };
        state.table.capabilities.get_mut("notifications").unwrap().set(Bucket::of(subject), holding);
        self.news.send_replace(version);
        version
    }

    /// Whether every gateway with a lease goes by this version and has nothing of before in flight.
    pub fn is_acknowledged(&self, version: u64) -> bool {
        let now = Boot::now();
        let state = self.state.lock().unwrap();
        state.holders.values().filter(|h| now < h.until).all(|h| h.seen >= version && h.drained)
    }

    /// Whether gateways that come now get a lease.
    pub fn set_open(&self, is_open: bool) {
        self.state.lock().unwrap().is_open = is_open;
    }

    /// How many gateways hold a lease.
    pub fn holders(&self) -> usize {
        let now = Boot::now();
        self.state.lock().unwrap().holders.values().filter(|h| now < h.until).count()
    }
}

async fn renew(State(control): State<Control>, Json(request): Json<LeaseRequest>) -> Response {
    let mut news = control.news.subscribe();
    {
        let mut state = control.state.lock().unwrap();
        if !state.is_open && !state.holders.contains_key(&request.holder) {
            return axum::http::StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        let holder = Holder {
            seen: request.seen_version,
            drained: request.undrained.values().all(banyan_core::BucketSet::is_empty),
            until: Boot::now().plus(Duration::from_millis(LEASE_MS)),
        };
        state.holders.insert(request.holder.clone(), holder);
    }
    let newer = news.wait_for(|version| *version > request.seen_version);
    let _ = tokio::time::timeout(Duration::from_millis(request.wait_ms), newer).await;
    let state = control.state.lock().unwrap();
    let version = state.table.version;
    let table = (version > request.seen_version).then(|| state.table.clone());
    Json(LeaseGrant { lease_ms: LEASE_MS, version, table, forced: Vec::new() }).into_response()
}

async fn give_back(State(control): State<Control>, Path(holder): Path<String>) {
    control.state.lock().unwrap().holders.remove(&holder);
}
