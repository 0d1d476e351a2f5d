//! Why the gateway does not start, and the answers that it gives itself.
//!
//! Codes are stable. 503 says that the request was certainly not executed, but for [`OUTCOME_UNKNOWN`]; 502 and
//! 504 that it may have been.

use banyan_runtime::http::Problem;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use thiserror::Error;

use crate::body::{AnswerBody, BodyFault};
use crate::exchange;
use crate::framing;
use crate::group::Group;
use crate::metrics::REFUSALS;
use crate::state::Refusal;
use crate::tls::LoadError;

/// Why the gateway does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// An option of `[gateway]` cannot work.
    #[error("[gateway] {0}")]
    Config(String),
    /// The address of the monolith cannot be used.
    #[error("the monolith's address {0}")]
    Monolith(String),
    /// The address of a service cannot be used.
    #[error("the service of capability `{0}`: {1}")]
    Service(String, String),
    /// The public port cannot be bound.
    #[error("cannot listen on {0} for clients: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The capabilities are not those that the gateway began with.
    #[error("capabilities cannot come, go or change places while the gateway runs")]
    Capabilities,
    /// The certificates cannot be used.
    #[error("[gateway.tls] {0}")]
    Tls(#[source] LoadError),
    /// The record of acknowledged writes cannot be used.
    #[error("the record of acknowledged writes in {0}: {1}")]
    Record(PathBuf, #[source] io::Error),
    /// A worker cannot be started.
    #[error("cannot start a worker thread: {0}")]
    Worker(#[source] io::Error),
}

/// The code of a write that was done at the service and cannot be acknowledged.
pub const OUTCOME_UNKNOWN: &str = "outcome_unknown";

/// An answer to a client.
pub type Answer = Response<AnswerBody>;

/// The answer of a problem.
pub fn answer(problem: &Problem) -> Answer {
    REFUSALS.with_label_values(&[problem.code()]).inc();
    let mut answer = Response::new(AnswerBody::whole(problem.body().to_string()));
    *answer.status_mut() = problem.status();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if problem.status() == StatusCode::SERVICE_UNAVAILABLE && problem.code() != OUTCOME_UNKNOWN {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    // What follows such a request is not worth reading, or not to be trusted.
    let ends = [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::REQUEST_TIMEOUT];
    if ends.contains(&problem.status()) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// A request that is no good as it stands.
pub fn bad_request(code: &'static str, detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, code, detail)
}

/// A request that was not executed and may be sent again.
pub fn unavailable(code: &'static str, detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
}

impl From<framing::Fault> for Problem {
    fn from(fault: framing::Fault) -> Self {
        use framing::Fault;
        match fault {
            Fault::Malformed(detail) => bad_request("malformed_request", detail),
            Fault::Ambiguous(detail) => bad_request("ambiguous_request", detail),
            Fault::HeadTooLarge => {
                let detail = "the head exceeds `head_bytes_max` or `headers_max` of [gateway]";
                Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", detail)
            }
            Fault::HeadTimeout => {
                let detail = "the head did not arrive within `head_timeout_ms` of [gateway]";
                Problem::new(StatusCode::REQUEST_TIMEOUT, "head_timeout", detail)
            }
            Fault::Version => {
                let detail = "the gateway speaks HTTP/1.1 and HTTP/1.0, and HTTP/2 over TLS";
                Problem::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "version_not_supported", detail)
            }
            Fault::Tunnel => method_not_allowed("CONNECT"),
        }
    }
}

/// A method that the gateway does not pass.
pub fn method_not_allowed(method: &str) -> Problem {
    let detail = format!("the gateway does not pass {method}");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

/// A body that does not arrive as it should.
pub fn body_fault(fault: &BodyFault, limit: &str) -> Problem {
    match fault {
        BodyFault::TooLarge => {
            let detail = format!("the body exceeds `{limit}` of [gateway]");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
        }
        BodyFault::Idle => {
            let detail = "the body made no progress for `body_idle_timeout_ms` of [gateway]";
            Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", detail)
        }
        BodyFault::BadFraming => {
            bad_request("ambiguous_request", "the body's chunks are not framed as HTTP/1.1 says")
        }
        BodyFault::Broken(_) => bad_request("body_incomplete", "the body ended early"),
    }
}

impl From<exchange::Fault> for Problem {
    fn from(fault: exchange::Fault) -> Self {
        use exchange::Fault;
        let detail = fault.to_string();
        match fault {
            Fault::Unreachable(..) => {
                tracing::warn!(error = %fault, "an upstream cannot be reached");
                unavailable("upstream_unreachable", detail)
            }
            Fault::Lost(..) => {
                tracing::warn!(error = %fault, "a request was lost");
                Problem::new(StatusCode::BAD_GATEWAY, "upstream_lost", detail)
            }
            Fault::TimedOut(..) => Problem::new(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", detail),
            Fault::Body(fault) => body_fault(&fault, "body_bytes_max"),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoLease => unavailable(
                "no_lease",
                "the gateway has no valid lease on the ownership table: control does not answer it",
            ),
            Refusal::HoldLimit => unavailable(
                "hold_limit",
                "the subject's data is being handed over, and a bound of the holds is reached",
            ),
        }
    }
}

/// The bound on connections of other protocols is reached.
pub fn upgrades_full() -> Problem {
    unavailable("upgrade_limit", "`upgraded_max` of [gateway] connections have changed their protocol")
}

/// An upstream that changes the protocol though nobody asked for that.
pub fn switched_unasked() -> Problem {
    let detail = "the upstream changes to a protocol that was not asked for";
    Problem::new(StatusCode::BAD_GATEWAY, "upstream_lost", detail)
}

/// A group whose bound is reached.
pub fn group_full(group: &Group) -> Problem {
    let (name, max) = (group.name(), group.in_flight_max());
    unavailable("group_full", format!("route group `{name}` has {max} requests in flight, its bound"))
}
