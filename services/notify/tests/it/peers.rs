//! The roles that notify talks to, as far as it talks to them: auth's keys, control's leases, sync's ids.

use axum::routing::{delete, get, post};
use axum::{Json, Router};
use banyan_core::protocol::identity::{Claims, ISSUER};
use banyan_core::protocol::lease::{LeaseGrant, LeaseRequest};
use banyan_core::protocol::monolith::{BlockRequest, IdBlock};
use banyan_runtime::client::RoleClient;
use banyan_runtime::clock;
use banyan_runtime::http::{Problem, role_only, serve};
use banyan_runtime::secrets::RoleToken;
use banyan_runtime::tasks::{OnError, Tasks};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

/// What precedes the seed in a PKCS#8 document of an Ed25519 key (RFC 8410).
const PKCS8_PREFIX: [u8; 16] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
pub const LEASE_MS: u64 = 600;

/// Auth, control and sync on one port.
pub struct Peers {
    pub client: RoleClient,
    pub granting: Arc<AtomicBool>,
    pub leasing_ids: Arc<AtomicBool>,
    pub given_back: Arc<Mutex<Vec<String>>>,
    seed: [u8; 32],
}

impl Peers {
    pub async fn start(tasks: &Tasks, token: &RoleToken) -> Self {
        let (granting, leasing_ids) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
        let given_back = Arc::new(Mutex::new(Vec::new()));
        let seed = [7; 32];
        let roles = Router::new()
            .route("/v1/leases", post(lease(Arc::clone(&granting))))
            .route("/v1/leases/{holder}", delete(give_back(Arc::clone(&given_back))))
            .route("/v1/blocks", post(blocks(Arc::clone(&leasing_ids))))
            .route("/v1/jwks", get(jwks(seed)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tasks.spawn("peers", OnError::Log, serve(listener, role_only(roles, token), tasks.shutdown()));
        Self { client: RoleClient::new(&url, token.clone()), granting, leasing_ids, given_back, seed }
    }

    /// An internal token.
    pub fn token(&self, subject: &str, audience: &str) -> String {
        let now_s = clock::unix_ms() / 1000;
        self.token_at((subject, audience), now_s)
    }

    pub fn token_at(&self, (subject, audience): (&str, &str), now_s: u64) -> String {
        let claims = Claims {
            iss: ISSUER.into(),
            aud: audience.into(),
            sub: subject.into(),
            sid: "session".into(),
            amr: vec!["session".into()],
            iat: now_s,
            exp: now_s + 120,
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some("test".into());
        let key = EncodingKey::from_ed_der(&[&PKCS8_PREFIX[..], &self.seed].concat());
        encode(&header, &claims, &key).unwrap()
    }

    pub fn set(flag: &AtomicBool, on: bool) {
        flag.store(on, Ordering::SeqCst);
    }
}

type Reply<T> = std::pin::Pin<Box<dyn Future<Output = Result<Json<T>, Problem>> + Send>>;

fn lease(granting: Arc<AtomicBool>) -> impl Fn(Json<LeaseRequest>) -> Reply<LeaseGrant> + Clone {
    move |Json(request)| {
        let granting = Arc::clone(&granting);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(request.wait_ms.min(50))).await;
            if !granting.load(Ordering::SeqCst) {
                return Err(Problem::new(
                    axum::http::StatusCode::SERVICE_UNAVAILABLE,
                    "down",
                    "control is down",
                ));
            }
            Ok(Json(LeaseGrant { lease_ms: LEASE_MS, version: 1, table: None, forced: Vec::new() }))
        })
    }
}

fn give_back(
    given_back: Arc<Mutex<Vec<String>>>,
) -> impl Fn(axum::extract::Path<String>) -> std::future::Ready<axum::http::StatusCode> + Clone {
    move |axum::extract::Path(holder)| {
        given_back.lock().unwrap().push(holder);
        std::future::ready(axum::http::StatusCode::NO_CONTENT)
    }
}

fn blocks(leasing: Arc<AtomicBool>) -> impl Fn(Json<BlockRequest>) -> Reply<IdBlock> + Clone {
    let next = Arc::new(AtomicU64::new(1_000_000));
    move |Json(request)| {
        let (leasing, next) = (Arc::clone(&leasing), Arc::clone(&next));
        Box::pin(async move {
            if !leasing.load(Ordering::SeqCst) {
                return Err(Problem::new(
                    axum::http::StatusCode::SERVICE_UNAVAILABLE,
                    "down",
                    "sync is down",
                ));
            }
            let first = next.fetch_add(request.size, Ordering::SeqCst);
            Ok(Json(IdBlock { first, last: first + request.size - 1 }))
        })
    }
}

fn jwks(seed: [u8; 32]) -> impl Fn() -> std::future::Ready<Json<serde_json::Value>> + Clone {
    use base64::Engine as _;
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
    let x = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(pair.public_key());
    let keys = json!({ "keys": [{
        "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "test", "alg": "EdDSA", "use": "sig",
    }] });
    move || std::future::ready(Json(keys.clone()))
}
