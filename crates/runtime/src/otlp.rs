//! Sends spans to a collector: OTLP over HTTP in its JSON encoding
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>), by the HTTP client that is there anyway.
//!
//! Bounded everywhere: a queue that drops when it is full, batches, tries, one request at a time. A collector
//! that is down costs spans, never requests. Decision 0010 says why this is written by hand.

mod encode;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::mpsc;

use crate::tasks::{OnError, Shutdown, Tasks};
use crate::trace::{self, Finished};

/// The most spans of one request.
const BATCH_MAX: usize = 512;
/// How long a batch waits for more spans.
const LINGER: Duration = Duration::from_millis(500);
/// How often one batch is tried.
const TRIES_MAX: u32 = 5;
/// The first pause after a failure; doubled up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long connecting, and a whole request, may take.
const CONNECT_MAX: Duration = Duration::from_secs(2);
const REQUEST_MAX: Duration = Duration::from_secs(10);
/// The most bytes that are read of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// What OTLP over HTTP adds to an endpoint.
const PATH: &str = "/v1/traces";

/// The options of `[telemetry]`. An option that cannot work fails the start and names itself.
#[derive(Clone, Debug, PartialEq, Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Base URL of the collector, such as `http://127.0.0.1:4318`; without it nothing is sent. Spoken to
    /// without TLS: a collector beside Banyan takes it further.
    pub otlp_endpoint: Option<String>,
    /// The share of new traces that is kept; 0 to 1. A trace that somebody else began is kept where its
    /// `traceparent` says so.
    pub sample_ratio: f64,
    /// The most spans that wait to be sent; more are dropped and counted; 16 to 1000000.
    pub queue_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { otlp_endpoint: None, sample_ratio: 1.0, queue_max: 8192 }
    }
}

impl Config {
    /// Checks what types alone cannot.
    ///
    /// # Errors
    /// The first fault: the key, its value and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        if let Some(endpoint) = &self.otlp_endpoint {
            let authority = endpoint.strip_prefix("http://").unwrap_or_default().trim_end_matches('/');
            if authority.is_empty() || authority.contains(['@', '?', '#', ' ']) {
                return Err(format!("`otlp_endpoint` `{endpoint}` must be http://host:port"));
            }
        }
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            return Err(format!("`sample_ratio` {} must be 0 to 1", self.sample_ratio));
        }
        if !(16..=1_000_000).contains(&self.queue_max) {
            return Err(format!("`queue_max` {} must be 16 to 1000000", self.queue_max));
        }
        Ok(())
    }

    fn sampled_up_to(&self) -> u64 {
        (self.sample_ratio * u64::MAX as f64) as u64
    }
}

/// The running exporter of the process. It has a supervisor of its own: it outlives the other tasks, whose
/// last spans it sends.
#[derive(Debug)]
pub struct Exporter(Tasks);

impl Exporter {
    /// Starts it on the current runtime; `None` where there is no endpoint, or the process has one already.
    pub fn start(config: &Config) -> Option<Self> {
        let collector = Collector::new(config.otlp_endpoint.as_deref()?);
        let (queue, spans) = mpsc::channel(config.queue_max);
        if !trace::install(trace::Sink { queue, sampled_up_to: config.sampled_up_to() }) {
            return None;
        }
        for outcome in ["exported", "dropped", "failed"] {
            trace::count(outcome, 0);
        }
        let tasks = Tasks::new();
        tasks.spawn("span exporter", OnError::Log, export(collector, spans, tasks.shutdown()));
        Some(Self(tasks))
    }

    /// Sends what waits, at most until the deadline, and ends.
    pub async fn stop(self, deadline: Duration) {
        self.0.stop(deadline).await;
    }
}

/// Asks a collector to take no spans at all, which tells whether it would take some.
///
/// # Errors
/// It cannot be reached, or speaks no OTLP; in words.
pub async fn probe(endpoint: &str) -> Result<(), String> {
    let sent = Collector::new(endpoint).send(encode::request(&[])).await;
    sent.map(|_| ()).map_err(|Unsent { cause, .. }| cause)
}

async fn export(
    collector: Collector,
    mut spans: mpsc::Receiver<Finished>,
    stop: Shutdown,
) -> Result<(), Infallible> {
    let mut failing = false;
    while let Some(batch) = next_batch(&mut spans, &stop).await {
        let outcome = collector.deliver(&batch, &stop).await;
        if let Err(cause) = &outcome
            && !failing
        {
            tracing::warn!(spans = batch.len(), cause, "the collector takes no spans");
        } else if outcome.is_ok() && failing {
            tracing::info!("the collector takes spans again");
        }
        failing = outcome.is_err();
        let count = batch.len() as u64;
        let rejected = outcome.unwrap_or(count).min(count);
        trace::count("exported", count - rejected);
        trace::count("failed", rejected);
    }
    Ok(())
}

/// Waits for a span, and a little for more; `None` once stopped and empty.
async fn next_batch(spans: &mut mpsc::Receiver<Finished>, stop: &Shutdown) -> Option<Vec<Finished>> {
    let mut batch = Vec::new();
    tokio::select! {
        first = spans.recv() => batch.push(first?),
        () = stop.requested() => {
            // What is in the queue can still be received.
            spans.close();
            batch.push(spans.recv().await?);
        }
    }
    let linger = tokio::time::sleep(LINGER);
    tokio::pin!(linger);
    while batch.len() < BATCH_MAX {
        tokio::select! {
            biased;
            more = spans.recv() => match more {
                Some(span) => batch.push(span),
                None => break,
            },
            () = &mut linger => break,
            () = stop.requested() => break,
        }
    }
    Some(batch)
}

/// Why a batch was not taken.
struct Unsent {
    cause: String,
    /// Whether it may be tried again, and after how many seconds the collector wants that.
    again: Option<Option<u64>>,
}

struct Collector {
    url: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Collector {
    fn new(endpoint: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_MAX));
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .retry_canceled_requests(false)
            .build(connector);
        Self { url: format!("{}{PATH}", endpoint.trim_end_matches('/')), client }
    }

    /// Tries until the batch is taken; how many spans the collector rejected.
    async fn deliver(&self, batch: &[Finished], stop: &Shutdown) -> Result<u64, String> {
        let body: Bytes = encode::request(batch);
        let mut pause = PAUSE_MIN;
        for attempt in 1.. {
            let unsent = match self.send(body.clone()).await {
                Ok(rejected) => return Ok(rejected),
                Err(unsent) => unsent,
            };
            let Some(wanted) = unsent.again.filter(|_| attempt < TRIES_MAX) else { return Err(unsent.cause) };
            let wanted = wanted.map_or(pause, Duration::from_secs).min(PAUSE_MAX);
            let hurried = stop.is_requested();
            tokio::select! {
                () = tokio::time::sleep(wanted) => {}
                // At shutdown the next try is made at once; from then on pauses are kept.
                () = stop.requested(), if !hurried => {}
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
        Err("no tries are allowed".into())
    }

    async fn send(&self, body: Bytes) -> Result<u64, Unsent> {
        let never = |cause: String| Unsent { cause, again: None };
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.url)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| never(format!("{}: {error}", self.url)))?;
        match tokio::time::timeout(REQUEST_MAX, self.exchange(request)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                Err(Unsent { cause: format!("{} does not answer in time", self.url), again: Some(None) })
            }
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<u64, Unsent> {
        let broken = |cause: String| Unsent { cause: format!("{}: {cause}", self.url), again: Some(None) };
        let answer = self.client.request(request).await.map_err(|error| broken(error.to_string()))?;
        let status = answer.status();
        let wanted = answer.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| broken(error.to_string()))?.to_bytes();
        if status.is_success() {
            return Ok(encode::rejected(&body));
        }
        // The specification's list of what may be tried again.
        let again = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        Err(Unsent { cause: format!("{} answers {status}", self.url), again: again.then_some(wanted) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_cannot_work_is_named() {
        let endpoint = |text: &str| Config { otlp_endpoint: Some(text.into()), ..Config::default() };
        assert_eq!(Config::default().check(), Ok(()));
        assert_eq!(endpoint("http://127.0.0.1:4318/").check(), Ok(()));
        for (config, named) in [
            (endpoint("https://collector:4318"), "`otlp_endpoint` `https://"),
            (endpoint("http://"), "`otlp_endpoint`"),
            (endpoint("http://user@collector"), "`otlp_endpoint`"),
            (Config { sample_ratio: 1.5, ..Config::default() }, "`sample_ratio` 1.5"),
            (Config { sample_ratio: f64::NAN, ..Config::default() }, "`sample_ratio` NaN"),
            (Config { queue_max: 1, ..Config::default() }, "`queue_max` 1"),
        ] {
            let fault = config.check().unwrap_err();
            assert!(fault.contains(named), "{named}: {fault}");
        }
    }
}
