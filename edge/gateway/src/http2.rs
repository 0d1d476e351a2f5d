//! HTTP/2 towards clients (RFC 9113): the same requests, checked as strictly before they become HTTP/1.1.
//!
//! Each stream is a task of the worker's. Bounds: streams at once, the head, the idle time, streams that a
//! client opens and gives up, and streams whose answer nobody takes. A connection past its bound is closed, a
//! stream past its bound is reset.

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Request};
use hyper::body::{Body as _, Incoming};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use crate::connection::{Client, Served};
use crate::error::Answer;
use crate::framing::{self, Fault};
use crate::metrics::{HTTP_2_CLOSED, HTTP_2_STALLED};
use crate::paced::Paced;
use crate::proxy::Proxy;
use crate::pulse::{Activity, Pulse};
use crate::spawner::Spawner;
use crate::stream::{Impatient, Stream};

/// How long a client may take to confirm the end of a connection.
const GOODBYE: Duration = Duration::from_secs(1);
/// Streams that a client may reset before the gateway has looked at them (CVE-2023-44487).
const UNSEEN_RESETS_MAX: usize = 20;
/// Faults of a client's that are answered by resets before the connection is closed.
const FAULTS_MAX: usize = 100;

/// Serves a connection to its end.
pub async fn serve(client: Client, stream: Impatient<Stream>, served: Served) {
    let opened_with = client.current.get();
    let config = &opened_with.shared.config;
    let idle_max = Duration::from_millis(config.idle_timeout_ms);
    let activity = Arc::new(Activity::new(config.http2_resets_max));
    let executor = Streams { spawner: client.streams.clone(), stall_max: config.body_idle() };
    let mut builder = http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.http2_streams_max)
        .max_header_list_size(u32::try_from(config.head_bytes_max).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(UNSEEN_RESETS_MAX)
        .max_local_error_reset_streams(FAULTS_MAX);
    let (current, peer, counted) = (client.current.clone(), client.peer, activity.clone());
    let service = service_fn(move |request| {
        let (proxy, exchange) = (current.get(), counted.begin());
        Box::pin(async move {
            let is_head = request.method() == Method::HEAD;
            let mut answer = answer(proxy, peer, request).await;
            // Connections of HTTP/2 do not end behind an answer.
            answer.headers_mut().remove(header::CONNECTION);
            if is_head {
                leave_out_body(&mut answer);
            }
            Ok::<_, Infallible>(answer.map(|body| Paced::new(body, Pulse::current(), exchange)))
        })
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let reason = tokio::select! {
        outcome = &mut connection => return report(outcome),
        () = served.ends() => Reason::Shutdown,
        () = activity.idle_for(idle_max) => Reason::Idle,
        () = activity.given_up_too_often() => Reason::Resets,
    };
    HTTP_2_CLOSED.with_label_values(&[reason.as_str()]).inc();
    if reason == Reason::Resets {
        tracing::warn!(peer = %peer.address, "a client gives up too many requests; its connection is closed");
        return;
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        outcome = &mut connection => report(outcome),
        () = activity.idle_for(GOODBYE) => {}
    }
}

/// Why the gateway ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Shutdown,
    Idle,
    Resets,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::Idle => "idle",
            Self::Resets => "resets",
        }
    }
}

fn report(outcome: Result<(), hyper::Error>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "a client's connection broke");
    }
}

async fn answer(proxy: Arc<Proxy>, peer: crate::headers::Peer, request: Request<Incoming>) -> Answer {
    let (mut head, body) = request.into_parts();
    if let Err(fault) = check(&head, body.is_end_stream(), proxy.shared.config.headers_max) {
        return Proxy::refuse(fault);
    }
    join_cookies(&mut head.headers);
    proxy.handle(peer, Request::from_parts(head, body)).await
}

/// What an HTTP/1.1 request must be, asked of one that is about to become one.
fn check(head: &Parts, ends: bool, lines_max: usize) -> Result<(), Fault> {
    if head.headers.len() > lines_max {
        return Err(Fault::HeadTooLarge);
    }
    if !head.uri.scheme_str().is_none_or(|scheme| matches!(scheme, "http" | "https")) {
        return Err(Fault::Malformed("the scheme is neither http nor https"));
    }
    // A host beside `:authority` must be the same, which is checked where all requests are.
    let authority = head.uri.authority().map(|authority| ("host", authority.as_str().as_bytes()));
    let fields = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let fields = fields.filter(|(name, _)| authority.is_none() || *name != "host");
    let path = head.uri.path_and_query().map_or("", |path| path.as_str());
    let length = framing::length_of_converted((head.method.as_str(), path), fields.chain(authority))?;
    if head.headers.get_all(header::HOST).iter().count() > 1 {
        return Err(Fault::Ambiguous("Host is repeated"));
    }
    if ends && length > 0 {
        return Err(Fault::Ambiguous("Content-Length of a request without a body"));
    }
    Ok(())
}

/// An answer of the gateway's own to HEAD: hyper leaves its body out in HTTP/1.1 only.
fn leave_out_body(answer: &mut Answer) {
    let length = answer.body().size_hint().exact().unwrap_or(0);
    if length > 0 && !answer.headers().contains_key(header::CONTENT_LENGTH) {
        answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    answer.body_mut().leave_out();
}

/// HTTP/2 clients send each cookie in a field of its own; HTTP/1.1 has one field (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}

/// Runs the streams of a connection, and resets those whose answer nobody takes.
#[derive(Clone)]
struct Streams {
    spawner: Spawner,
    stall_max: Duration,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let (pulse, stall_max) = (Pulse::new(), self.stall_max);
        let stream: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(stream);
        self.spawner.spawn(async move {
            if !pulse.watch(stream, stall_max).await {
                HTTP_2_STALLED.inc();
            }
        });
    }
}
