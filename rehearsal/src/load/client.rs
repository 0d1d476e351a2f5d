//! The customers' HTTP client: HTTP/1.1, no redirects followed, nothing ever sent twice.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 8 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter than any server keeps an idle connection, so that none is used while it is being closed.
const IDLE_MAX: Duration = Duration::from_secs(3);

/// What a customer sends.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Headers beside `Host` and `Content-Length`.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// No whole answer came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The request was certainly not executed.
    Unsent(String),
    /// It may have been executed.
    Lost(String),
    /// It may have been executed, or may still be.
    TimedOut(u64),
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unsent(cause) => write!(f, "cannot connect: {cause}"),
            Self::Lost(cause) => write!(f, "connection broke: {cause}"),
            Self::TimedOut(seconds) => write!(f, "no answer within {seconds} s"),
        }
    }
}

impl Answer {
    /// The path of `Location`, without scheme, host and query.
    pub fn redirect(&self) -> Option<&str> {
        let location = self.headers.get(header::LOCATION)?.to_str().ok()?;
        let path = match location.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
            None => location,
        };
        path.split(['?', '#']).next()
    }

    /// The body as text.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body as JSON.
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The `code` of a problem document of Banyan's, where the answer is one.
    pub fn problem(&self) -> Option<String> {
        let kind = self.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        if !kind.starts_with("application/problem+json") {
            return None;
        }
        Some(self.json()?.get("code")?.as_str()?.to_owned())
    }
}

/// The client. Clones share connections and the address to talk to.
#[derive(Clone)]
pub struct HttpClient {
    client: Client<HttpConnector, Full<Bytes>>,
    authority: Arc<RwLock<String>>,
    timeout: Duration,
}

impl HttpClient {
    /// A client that talks to a base URL such as `http://127.0.0.1:8000`.
    pub fn new(base_url: &str, timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .retry_canceled_requests(false)
            .build(connector);
        let http = Self { client, authority: Arc::default(), timeout };
        http.turn_to(base_url);
        http
    }

    /// Sends every request from now on to another base URL, as a changed DNS record would.
    pub fn turn_to(&self, base_url: &str) {
        let authority = base_url.trim_start_matches("http://").trim_end_matches('/');
        *self.authority.write().unwrap_or_else(PoisonError::into_inner) = authority.into();
    }

    /// Sends one request and reads the whole answer.
    ///
    /// # Errors
    /// No whole answer came; a status is never an error.
    pub async fn send(&self, outgoing: Outgoing) -> Result<Answer, Broken> {
        let authority = self.authority.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut request = Request::new(Full::new(outgoing.body));
        let target = format!("http://{authority}{}", outgoing.path);
        *request.uri_mut() = target.parse().map_err(|e| Broken::Unsent(format!("{target}: {e}")))?;
        *request.method_mut() = outgoing.method;
        *request.headers_mut() = outgoing.headers;
        request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("rehearsal"));
        match tokio::time::timeout(self.timeout, self.exchange(request)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Broken::TimedOut(self.timeout.as_secs())),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, Broken> {
        let answer = self.client.request(request).await.map_err(|error| {
            let cause = chain(&error);
            if error.is_connect() { Broken::Unsent(cause) } else { Broken::Lost(cause) }
        })?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|e| Broken::Lost(format!("in the body: {e}")))?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |e| e.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_compared_by_its_path() {
        let to = |location: &'static str| {
            let headers = HeaderMap::from_iter([(header::LOCATION, HeaderValue::from_static(location))]);
            let answer = Answer { status: StatusCode::FOUND, headers, body: Bytes::new() };
            answer.redirect().map(str::to_owned)
        };
        assert_eq!(to("http://127.0.0.1:1/login?a=b").as_deref(), Some("/login"));
        assert_eq!(to("/notifications#x").as_deref(), Some("/notifications"));
        assert_eq!(to("http://127.0.0.1:1").as_deref(), Some("/"));
    }
}
