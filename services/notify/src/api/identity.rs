//! Who a request is: the internal token that auth has signed, the subject that the gateway has resolved.
//!
//! Keys are fetched from auth when a token names one that is not known, at most once a second.

use super::input::text;
use axum::http::{HeaderMap, StatusCode};
use banyan_core::OwnerEpoch;
use banyan_core::protocol::identity::{Claims, ISSUER};
use banyan_core::protocol::{IDENTITY, OWNER_EPOCH, SUBJECT};
use banyan_runtime::client::RoleClient;
use banyan_runtime::clock::Boot;
use banyan_runtime::http::Problem;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How far the clocks of auth and this service may differ, in seconds.
const LEEWAY_S: u64 = 5;
/// The least time between two fetches of keys.
const REFRESH_MIN: Duration = Duration::from_secs(1);
const FETCH_TIMEOUT: Duration = Duration::from_secs(2);

/// Checks internal tokens.
pub struct Verifier {
    auth: RoleClient,
    validation: Validation,
    keys: Mutex<Arc<JwkSet>>,
    fetched: tokio::sync::Mutex<Option<Boot>>,
}

impl Verifier {
    /// Accepts tokens for this audience.
    pub fn new(auth: &RoleClient, audience: &str) -> Self {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[audience]);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.leeway = LEEWAY_S;
        Self {
            auth: auth.timeout(FETCH_TIMEOUT),
            validation,
            keys: Mutex::new(Arc::new(JwkSet { keys: Vec::new() })),
            fetched: tokio::sync::Mutex::new(None),
        }
    }

    /// The subject of a valid token.
    ///
    /// # Errors
    /// The token is not valid, or auth cannot be asked for its key.
    pub async fn subject(&self, token: &str) -> Result<String, Problem> {
        let kid = decode_header(token).ok().and_then(|header| header.kid).ok_or_else(invalid)?;
        let known = self.keys();
        let keys = if known.find(&kid).is_some() { known } else { self.refresh(&kid).await? };
        let key = keys.find(&kid).and_then(|key| DecodingKey::from_jwk(key).ok()).ok_or_else(invalid)?;
        let decoded = decode::<Claims>(token, &key, &self.validation).map_err(|_| invalid())?;
        Ok(decoded.claims.sub)
    }

    fn keys(&self) -> Arc<JwkSet> {
        Arc::clone(&self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn refresh(&self, kid: &str) -> Result<Arc<JwkSet>, Problem> {
        let mut fetched = self.fetched.lock().await;
        let keys = self.keys();
        // Another request may have fetched it meanwhile.
        if keys.find(kid).is_some() || fetched.is_some_and(|at| at.elapsed() < REFRESH_MIN) {
            return Ok(keys);
        }
        let keys: JwkSet = self.auth.get("/v1/jwks").await.map_err(|error| {
            tracing::warn!(%error, "the keys of internal tokens cannot be fetched");
            let detail = "auth cannot be asked for the key of the internal token";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "auth_unavailable", detail).retry_after(1)
        })?;
        *fetched = Some(Boot::now());
        let keys = Arc::new(keys);
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&keys);
        Ok(keys)
    }

    /// The user of a request: the token's subject, which must be the one that the gateway routed by.
    ///
    /// # Errors
    /// As [`Verifier::subject`], or the two differ.
    pub async fn user(&self, headers: &HeaderMap) -> Result<u64, Problem> {
        let token = text(headers, IDENTITY).ok_or_else(invalid)?;
        let subject = self.subject(&token).await?;
        let routed = routed_subject(headers)?;
        if subject.parse() == Ok(routed) { Ok(routed) } else { Err(invalid()) }
    }
}

fn invalid() -> Problem {
    let detail = "the request carries no valid internal token for its subject";
    Problem::new(StatusCode::UNAUTHORIZED, "identity", detail)
}

/// The subject by which the gateway routed a request.
///
/// # Errors
/// There is none, or it is no user id.
pub fn routed_subject(headers: &HeaderMap) -> Result<u64, Problem> {
    let subject = text(headers, SUBJECT).unwrap_or_default();
    let id = subject.parse::<u64>().ok().filter(|id| *id <= i64::MAX.cast_unsigned());
    id.filter(|id| id.to_string() == subject).ok_or_else(|| missing(SUBJECT))
}

/// The owner epoch under which the gateway routed a write.
///
/// # Errors
/// There is none.
pub fn owner_epoch(headers: &HeaderMap) -> Result<OwnerEpoch, Problem> {
    let epoch = text(headers, OWNER_EPOCH).and_then(|epoch| epoch.parse().ok());
    epoch.map(OwnerEpoch).ok_or_else(|| missing(OWNER_EPOCH))
}

fn missing(header: &str) -> Problem {
    let detail = format!("the request does not carry a valid header {header}; it is not from a gateway");
    Problem::new(StatusCode::BAD_REQUEST, "routing_header", detail)
}
