//! A collector of OTLP over HTTP in JSON: keeps every span that it is sent.

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The largest request that is read.
const BODY_BYTES_MAX: usize = 16 << 20;

/// A span as it arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Span {
    /// The trace's id.
    pub trace_id: String,
    /// Its own id.
    pub span_id: String,
    /// The id of the span above, empty for a root.
    pub parent_id: String,
    /// Whose it is.
    pub service: String,
    /// Its name.
    pub name: String,
    /// OpenTelemetry's `SpanKind`.
    pub kind: u64,
    /// Its begin, in nanoseconds since 1970.
    pub start_ns: u64,
    /// Its end, in nanoseconds since 1970.
    pub end_ns: u64,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
    /// Whether it failed.
    pub failed: bool,
}

type Spans = Arc<Mutex<Vec<Span>>>;

/// The collector; ends with its value.
pub struct Collector {
    url: String,
    spans: Spans,
    _serving: JoinSet<()>,
}

impl Collector {
    /// Listens on a free port.
    ///
    /// # Errors
    /// There is none.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("the collector cannot listen")?;
        let url = format!("http://{}", listener.local_addr()?);
        let (spans, mut serving) = (Spans::default(), JoinSet::new());
        serving.spawn(accept(listener, spans.clone()));
        Ok(Self { url, spans, _serving: serving })
    }

    /// Its endpoint.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The spans of a trace that have arrived.
    pub fn spans(&self, trace_id: &str) -> Vec<Span> {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.iter().filter(|span| span.trace_id == trace_id).cloned().collect()
    }
}

async fn accept(listener: TcpListener, spans: Spans) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let spans = spans.clone();
        connections.spawn(async move {
            let answer = service_fn(move |request| take(request, spans.clone()));
            // An error is a process that has ended.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn take(request: Request<Incoming>, spans: Spans) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_export = request.method() == Method::POST && request.uri().path() == "/v1/traces";
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
    let parsed = body.ok().and_then(|body| serde_json::from_slice::<Value>(&body.to_bytes()).ok());
    let taken = parsed.filter(|_| is_export).and_then(|request| read(&request));
    let status = if taken.is_some() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    spans.lock().unwrap_or_else(PoisonError::into_inner).extend(taken.into_iter().flatten());
    let mut answer = Response::new(Full::new(Bytes::from_static(b"{}")));
    *answer.status_mut() = status;
    Ok(answer)
}

/// The spans of a request; `None` where it is not what the specification says.
fn read(request: &Value) -> Option<Vec<Span>> {
    let mut all = Vec::new();
    for resource in request["resourceSpans"].as_array()? {
        let service = attributes(&resource["resource"])?.remove("service.name")?;
        for scope in resource["scopeSpans"].as_array()? {
            for span in scope["spans"].as_array()? {
                all.push(span_of(span, &service)?);
            }
        }
    }
    Some(all)
}

fn span_of(span: &Value, service: &str) -> Option<Span> {
    let text = |key: &str| span[key].as_str().map(str::to_owned);
    let nanos = |key: &str| span[key].as_str()?.parse().ok();
    Some(Span {
        trace_id: text("traceId").filter(|id| id.len() == 32)?,
        span_id: text("spanId").filter(|id| id.len() == 16)?,
        parent_id: text("parentSpanId")?,
        service: service.to_owned(),
        name: text("name")?,
        kind: span["kind"].as_u64()?,
        start_ns: nanos("startTimeUnixNano")?,
        end_ns: nanos("endTimeUnixNano")?,
        attributes: attributes(span)?,
        failed: span["status"]["code"] == 2,
    })
}

fn attributes(of: &Value) -> Option<BTreeMap<String, String>> {
    let pair = |attribute: &Value| {
        let value = &attribute["value"];
        let text = value["stringValue"].as_str().or_else(|| value["intValue"].as_str())?;
        Some((attribute["key"].as_str()?.to_owned(), text.to_owned()))
    };
    of["attributes"].as_array()?.iter().map(pair).collect()
}
