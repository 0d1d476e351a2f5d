//! What is seen of every request to a role: its span, the trace id on its log lines, its duration.

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, Method};
use axum::middleware::{self, Next};
use axum::response::Response;
use prometheus::{HistogramVec, register_histogram_vec};
use std::sync::LazyLock;

use crate::clock;
use crate::trace::{self, Kind, Span, SpanContext, Tracer};

/// The header of W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// What `http_route` says where no route is known.
const UNKNOWN: &str = "unknown";

/// The boundaries that OpenTelemetry's semantic conventions advise for `http.server.request.duration`.
pub const BOUNDARIES: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

static DURATION: LazyLock<HistogramVec> = LazyLock::new(|| {
    register_histogram_vec!(
        "http_server_request_duration_seconds",
        "Duration of HTTP server requests",
        &["service_name", "http_request_method", "http_route", "http_response_status_code"],
        BOUNDARIES.to_vec()
    )
    .expect("a metric of a unique name is registered once")
});

/// Counts one request under OpenTelemetry's names. Routes are patterns or names, never paths.
pub fn count((service, route): (&str, &str), method: &Method, status: u16, seconds: f64) {
    let (mut digits, status) = ([0; 3], status.clamp(100, 999));
    for (place, divisor) in [100, 10, 1].into_iter().enumerate() {
        digits[place] = b'0' + u8::try_from(status / divisor % 10).unwrap_or_default();
    }
    let status = std::str::from_utf8(&digits).unwrap_or_default();
    DURATION.with_label_values(&[service, known(method), route, status]).observe(seconds);
}

/// The method, or `_OTHER`: whoever sends a request chooses it.
pub fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 8] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

/// The trace that a request belongs to; `None` where it has no `traceparent`, several, or one that is none.
pub fn parent(headers: &HeaderMap) -> Option<SpanContext> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => SpanContext::parse(value.to_str().ok()?),
        _ => None,
    }
}

/// The routes of a role, observed. A request that belongs to a trace is a span of it; others begin none, as
/// they are the roles' own coming and going.
pub fn observed(router: Router, service: &'static str) -> Router {
    router.layer(middleware::from_fn(move |request: Request, next: Next| observe(service, request, next)))
}

async fn observe(service: &'static str, request: Request, next: Next) -> Response {
    let begun = clock::instant();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = || route.as_ref().map_or(UNKNOWN, MatchedPath::as_str);
    let answer = match parent(request.headers()) {
        Some(parent) => {
            let mut span = Tracer::of(service).begin(known(&method), Kind::Server, Some(parent));
            if span.is_recorded() {
                span.rename(format!("{} {}", known(&method), route()));
                span.set("http.request.method", known(&method));
                span.set("http.route", route());
            }
            let answer = trace::scope(span.context(), next.run(request)).await;
            answered(&mut span, answer.status().as_u16());
            answer
        }
        None => next.run(request).await,
    };
    count((service, route()), &method, answer.status().as_u16(), begun.elapsed().as_secs_f64());
    answer
}

/// Notes a status on a server's or a client's span.
pub fn answered(span: &mut Span, status: u16) {
    span.set("http.response.status_code", u64::from(status));
    if status >= 500 {
        span.fail("");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_valid_traceparent_counts() {
        let valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        for (values, wanted) in
            [(&[valid][..], true), (&[], false), (&["x"], false), (&[valid, valid], false)]
        {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(TRACEPARENT, value.parse().unwrap());
            }
            assert_eq!(parent(&headers).is_some(), wanted, "{values:?}");
        }
    }

    #[test]
    fn a_method_that_a_client_makes_up_is_no_label() {
        assert_eq!(known(&Method::DELETE), "DELETE");
        assert_eq!(known(&Method::from_bytes(b"BREW").unwrap()), "_OTHER");
    }
}
