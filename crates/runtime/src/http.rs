//! HTTP conventions of all roles: problem documents (RFC 9457), the role token, serving, metrics.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use banyan_core::protocol::ROLE_TOKEN;
use std::fmt;
use std::io;
use tokio::net::TcpListener;

use crate::secrets::RoleToken;
use crate::tasks::Shutdown;

/// An error answer: `application/problem+json` with a stable `code`.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    retry_after_s: Option<u64>,
}

impl Problem {
    /// A problem; `code` is stable, `detail` names the object, the cause and what to do.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), retry_after_s: None }
    }

    /// Adds `Retry-After`, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The status code.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The document.
    pub fn body(&self) -> serde_json::Value {
        serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.detail, self.code)
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut answer = (self.status, Json(self.body())).into_response();
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

/// Answers 401 `role_token` to every request of the router that does not carry the role token.
pub fn role_only(router: Router, token: &RoleToken) -> Router {
    let token = token.clone();
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let known = request.headers().get(ROLE_TOKEN).is_some_and(|t| token.matches(t.as_bytes()));
        async move {
            if known {
                next.run(request).await
            } else {
                let detail =
                    format!("the request does not carry the header {ROLE_TOKEN} of this installation");
                Problem::new(StatusCode::UNAUTHORIZED, "role_token", detail).into_response()
            }
        }
    }))
}

/// Serves a router until shutdown is requested, then finishes what is in flight.
///
/// # Errors
/// The listener fails.
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) -> io::Result<()> {
    serve_until(listener, router, async move { shutdown.requested().await }).await
}

/// The same until this resolves.
///
/// # Errors
/// The listener fails.
pub async fn serve_until(
    listener: TcpListener,
    router: Router,
    end: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(end).await
}

/// `GET /metrics` (Prometheus text format, the default registry) and `GET /healthz`, which answers `"ok"`.
pub fn metrics_route() -> Router {
    Router::new().route("/metrics", get(metrics)).route("/healthz", get(|| async { Json("ok") }))
}

async fn metrics() -> Response {
    let mut text = String::new();
    match prometheus::TextEncoder::new().encode_utf8(&prometheus::gather(), &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "metrics", error.to_string()).into_response()
        }
    }
}
