//! The routes: `POST /v1/identity` and `POST /v1/lookup` for roles, `GET /v1/jwks`, `/healthz` and
//! `/metrics` for everybody who reaches the port. Translates, never decides.

use crate::error::Fault;
use crate::identity::Identities;
use crate::lookup::Lookups;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use banyan_core::protocol::identity::{Identity, IdentityRequest, LookupAnswer, LookupRequest};
use banyan_runtime::clock;
use banyan_runtime::http::{Problem, metrics_route, role_only};
use banyan_runtime::secrets::RoleToken;
use std::sync::Arc;

/// The largest request, in bytes: cookies and CSRF carriers as the gateway's limits let them through.
const REQUEST_BYTES_MAX: usize = 256 << 10;

/// What the routes answer from.
pub struct Auth {
    /// Who a request is.
    pub identities: Identities,
    /// From a value to a subject.
    pub lookups: Lookups,
}

/// The routes.
pub fn router(auth: Auth, token: &RoleToken) -> Router {
    let jwks = auth.identities.signer.jwks();
    let roles = Router::new()
        .route("/v1/identity", post(identity))
        .route("/v1/lookup", post(lookup))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(Arc::new(auth));
    let public = Router::new().route("/v1/jwks", get(move || async move { Json(jwks) }));
    role_only(roles, token).merge(public).merge(metrics_route())
}

async fn identity(
    State(auth): State<Arc<Auth>>,
    request: Result<Json<IdentityRequest>, JsonRejection>,
) -> Result<Json<Identity>, Problem> {
    let request = body(request)?;
    let answer = auth.identities.resolve(&request, clock::unix_ms() / 1000).await;
    answer.map(Json).map_err(report)
}

async fn lookup(
    State(auth): State<Arc<Auth>>,
    request: Result<Json<LookupRequest>, JsonRejection>,
) -> Result<Json<LookupAnswer>, Problem> {
    let request = body(request)?;
    auth.lookups.find(&request).await.map(Json).map_err(report)
}

fn body<T>(request: Result<Json<T>, JsonRejection>) -> Result<T, Problem> {
    request.map(|Json(body)| body).map_err(|rejection| Fault::Malformed(rejection.body_text()).into())
}

fn report(fault: Fault) -> Problem {
    if let Fault::Database(_) | Fault::SessionTooLarge = fault {
        tracing::warn!(error = %fault, "a request was not answered");
    }
    fault.into()
}
