//! The metrics of the gateway, in the default registry.

use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, register_histogram,
    register_histogram_vec, register_int_counter, register_int_counter_vec, register_int_gauge,
    register_int_gauge_vec,
};
use std::sync::{Arc, LazyLock};

const ONCE: &str = "a metric of a unique name is registered once";

static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "banyan_gateway_requests_total",
        "Requests by capability or route group, by who answered, by status class",
        &["route", "upstream", "status"]
    )
    .expect(ONCE)
});

static SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    register_histogram_vec!(
        "banyan_gateway_request_seconds",
        "Time from a request's head to the end of its answer",
        &["route", "upstream"],
        vec![0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0]
    )
    .expect(ONCE)
});

/// Refusals of the gateway's own, by their code.
pub static REFUSALS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!("banyan_gateway_refusals_total", "Problems answered, by code", &["code"])
        .expect(ONCE)
});

/// Requests in flight towards the monolith, by group.
pub static IN_FLIGHT: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    register_int_gauge_vec!(
        "banyan_gateway_in_flight",
        "Requests in flight towards the monolith by route group",
        &["group"]
    )
    .expect(ONCE)
});

/// Requests sent over a second connection since the first carried none of it, or died idle.
pub static RECONNECTS: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!(
        "banyan_gateway_reconnects_total",
        "Requests that went over a new connection since a pooled one was closed"
    )
    .expect(ONCE)
});

/// Requests held now.
pub static HELD: LazyLock<IntGauge> =
    LazyLock::new(|| register_int_gauge!("banyan_gateway_held", "Writes held now").expect(ONCE));

/// How long released writes were held.
pub static HOLD_SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    register_histogram!(
        "banyan_gateway_hold_seconds",
        "Time for which released writes were held",
        vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0]
    )
    .expect(ONCE)
});

/// 1 while the lease is valid.
pub static LEASE: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!("banyan_gateway_lease_valid", "1 while the lease on the table is valid").expect(ONCE)
});

/// The version of the table by which requests are routed.
pub static TABLE_VERSION: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!("banyan_gateway_table_version", "The version of the ownership table").expect(ONCE)
});

/// Renewals of the lease: `granted` or `failed`.
pub static RENEWALS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!("banyan_gateway_lease_renewals_total", "Renewals by outcome", &["outcome"])
        .expect(ONCE)
});

/// Open connections of clients.
pub static CONNECTIONS: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!("banyan_gateway_connections", "Open connections of clients").expect(ONCE)
});

/// Handshakes of TLS: `done`, `failed` or `timed_out`.
pub static HANDSHAKES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!("banyan_gateway_handshakes_total", "TLS handshakes by outcome", &["outcome"])
        .expect(ONCE)
});

/// Attempts to read changed certificates: `loaded` or `refused`.
pub static CERTIFICATE_LOADS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "banyan_gateway_certificate_loads_total",
        "Attempts to read changed certificates by outcome",
        &["outcome"]
    )
    .expect(ONCE)
});

/// Connections of HTTP/2 that the gateway ended: at `shutdown`, `idle`, or for too many `resets`.
pub static HTTP_2_CLOSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "banyan_gateway_http2_closed_total",
        "HTTP/2 connections that the gateway ended by reason",
        &["reason"]
    )
    .expect(ONCE)
});

/// Streams of HTTP/2 that were reset since nobody took their answer.
pub static HTTP_2_STALLED: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!(
        "banyan_gateway_http2_stalled_total",
        "HTTP/2 streams that were reset since the client did not take the answer"
    )
    .expect(ONCE)
});

/// Connections that have changed their protocol, or are asking for it.
pub static TUNNELS: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!("banyan_gateway_upgraded", "Connections that carry another protocol").expect(ONCE)
});

/// Ends of such connections: `closed`, `broken`, `idle` or `drained`.
pub static TUNNELS_ENDED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "banyan_gateway_upgraded_ended_total",
        "Ends of connections that carried another protocol by reason",
        &["reason"]
    )
    .expect(ONCE)
});

/// Bytes that such connections have carried: `up` to the owner, `down` to the client.
pub static TUNNEL_BYTES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "banyan_gateway_upgraded_bytes_total",
        "Bytes of connections that carry another protocol by direction",
        &["direction"]
    )
    .expect(ONCE)
});

/// Who answered a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answerer {
    /// The monolith.
    Monolith,
    /// The capability's service.
    Service,
    /// The gateway itself.
    Gateway,
}

impl Answerer {
    const ALL: [Self; 3] = [Self::Monolith, Self::Service, Self::Gateway];

    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Monolith => "monolith",
            Self::Service => "service",
            Self::Gateway => "gateway",
        }
    }
}

/// The figures of one capability or route group, looked up once.
#[derive(Clone, Debug)]
pub struct Figures(Arc<[OfAnswerer; 3]>);

#[derive(Debug)]
struct OfAnswerer {
    by_class: [IntCounter; 5],
    seconds: Histogram,
}

impl Figures {
    /// The figures of this name.
    pub fn new(route: &str) -> Self {
        let of = |answerer: Answerer| OfAnswerer {
            by_class: ["1xx", "2xx", "3xx", "4xx", "5xx"]
                .map(|class| REQUESTS.with_label_values(&[route, answerer.as_str(), class])),
            seconds: SECONDS.with_label_values(&[route, answerer.as_str()]),
        };
        Self(Arc::new(Answerer::ALL.map(of)))
    }

    /// Counts one answer.
    pub fn count(&self, answerer: Answerer, status: u16, seconds: f64) {
        let figures = &self.0[answerer as usize];
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        figures.by_class[class].inc();
        figures.seconds.observe(seconds);
    }
}
