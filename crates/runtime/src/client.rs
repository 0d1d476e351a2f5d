//! The JSON client by which roles call each other.
//!
//! It never repeats a request, and says on behalf of which trace it is made. An error says whether the request may have been executed.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, Response, body::Incoming, header};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

use crate::observe::TRACEPARENT;
use crate::secrets::RoleToken;
use crate::trace;
use banyan_core::protocol::ROLE_TOKEN;

/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a call failed.
#[derive(Debug, Error)]
pub enum CallError {
    /// The request was certainly not executed.
    #[error("cannot reach {0}")]
    Unsent(String),
    /// The request was sent and no answer came: it may have been executed.
    #[error("no answer from {0}")]
    Unknown(String),
    /// The other role answered with an error.
    #[error("{detail} ({status} {code})")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The stable code of the problem, empty where there is none.
        code: String,
        /// The problem's detail.
        detail: String,
    },
    /// The answer cannot be read.
    #[error("cannot read the answer of {0}")]
    Malformed(String),
}

impl CallError {
    /// Whether the other role refused with this code.
    pub fn is_refused(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code == wanted)
    }
}

/// A client of one role.
#[derive(Clone, Debug)]
pub struct RoleClient {
    base: Arc<str>,
    token: RoleToken,
    timeout: Duration,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl RoleClient {
    /// A client for a base URL such as `http://127.0.0.1:7101`.
    pub fn new(base_url: &str, token: RoleToken) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .retry_canceled_requests(false)
            .build(connector);
        Self { base: base_url.trim_end_matches('/').into(), token, timeout: TIMEOUT, client }
    }

    /// The same client with another bound on a whole call; the default is 10 s.
    #[must_use]
    pub fn timeout(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// The base URL.
    pub fn base_url(&self) -> &str {
        &self.base
    }

    /// `GET path`.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn get<R: DeserializeOwned>(&self, path: &str) -> Result<R, CallError> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// `POST path` with a JSON body; an empty answer reads as JSON `null`.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn post<B: Serialize + ?Sized, R: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<R, CallError> {
        let body = serde_json::to_vec(body).map_err(|e| CallError::Unsent(format!("{path}: {e}")))?;
        self.call(Method::POST, path, body.into()).await
    }

    /// `DELETE path`; the answer's body is ignored.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn delete(&self, path: &str) -> Result<(), CallError> {
        self.call::<serde::de::IgnoredAny>(Method::DELETE, path, Bytes::new()).await.map(|_| ())
    }

    async fn call<R: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<R, CallError> {
        let target = format!("{method} {}{path}", self.base);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(ROLE_TOKEN, self.token.expose())
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(context) = trace::current() {
            request = request.header(TRACEPARENT, context.to_string());
        }
        let request =
            request.body(Full::new(body)).map_err(|e| CallError::Unsent(format!("{target}: {e}")))?;
        match tokio::time::timeout(self.timeout, self.exchange(request, &target)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(CallError::Unknown(format!("{target} within {} ms", self.timeout.as_millis()))),
        }
    }

    async fn exchange<R: DeserializeOwned>(
        &self,
        request: Request<Full<Bytes>>,
        target: &str,
    ) -> Result<R, CallError> {
        let answer = self.client.request(request).await.map_err(|error| {
            let cause = format!("{target}: {}", chain(&error));
            if error.is_connect() { CallError::Unsent(cause) } else { CallError::Unknown(cause) }
        })?;
        read(answer, target).await
    }
}

async fn read<R: DeserializeOwned>(answer: Response<Incoming>, target: &str) -> Result<R, CallError> {
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await
        .map_err(|e| CallError::Unknown(format!("{target}: {e}")))?
        .to_bytes();
    if !status.is_success() {
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |key: &str| problem.get(key).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
        let detail = if text("detail").is_empty() { target.to_owned() } else { text("detail") };
        return Err(CallError::Refused { status: status.as_u16(), code: text("code"), detail });
    }
    let body: &[u8] = if body.is_empty() { b"null" } else { &body };
    serde_json::from_slice(body).map_err(|e| CallError::Malformed(format!("{target}: {e}")))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
