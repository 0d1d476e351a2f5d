//! The exporter against a collector of this process. A process has one exporter: so has this binary.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Json, Router};
use banyan_runtime::clock;
use banyan_runtime::http::serve;
use banyan_runtime::otlp::{self, Exporter};
use banyan_runtime::tasks::{OnError, Tasks};
use banyan_runtime::trace::{Kind, SpanContext, Tracer};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

const DEADLINE: Duration = Duration::from_secs(60);

/// What arrived, and the answers that are given first.
#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Value>>>,
    refusals: Arc<Mutex<Vec<StatusCode>>>,
}

async fn take(State(collector): State<Collector>, request: Request) -> axum::response::Response {
    let typed = request.headers().get("content-type").is_some_and(|v| v == "application/json");
    let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert!(typed);
    if let Some(refusal) = collector.refusals.lock().unwrap().pop() {
        return refusal.into_response();
    }
    for resource in body["resourceSpans"].as_array().unwrap() {
        let service = &resource["resource"]["attributes"][0]["value"]["stringValue"];
        for span in resource["scopeSpans"][0]["spans"].as_array().unwrap() {
            let mut span = span.clone();
            span["service"] = service.clone();
            collector.spans.lock().unwrap().push(span);
        }
    }
    Json(json!({})).into_response()
}

async fn collector() -> (String, Collector, Tasks) {
    let collector = Collector::default();
    let router = Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = Tasks::new();
    tasks.spawn("collector", OnError::Log, serve(listener, router, tasks.shutdown()));
    (format!("http://{address}"), collector, tasks)
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_reach_the_collector_past_its_refusals_and_the_last_ones_at_shutdown() {
    let (endpoint, collector, _tasks) = collector().await;
    assert_eq!(otlp::probe(&endpoint).await, Ok(()));
    let fault = otlp::probe("http://127.0.0.1:1").await.unwrap_err();
    assert!(fault.contains("http://127.0.0.1:1/v1/traces"), "{fault}");

    collector.refusals.lock().unwrap().extend([StatusCode::SERVICE_UNAVAILABLE; 2]);
    let config = otlp::Config { otlp_endpoint: Some(endpoint), ..otlp::Config::default() };
    let exporter = Exporter::start(&config).expect("this is the first of the process");
    assert!(Exporter::start(&config).is_none());

    const TRACER: Tracer = Tracer::of("role");
    let mut parent = TRACER.begin("above", Kind::Server, None);
    parent.set("http.request.method", "GET");
    let mut child = TRACER.begin("below", Kind::Client, Some(parent.context()));
    child.fail("broken");
    let (above, below) = (parent.context(), child.context());
    drop((child, parent));
    let unsampled = SpanContext::root(false);
    drop(TRACER.begin("not kept", Kind::Internal, Some(unsampled)));

    let arrived = || collector.spans.lock().unwrap().len();
    let deadline = clock::instant() + DEADLINE;
    while arrived() < 2 {
        assert!(clock::instant() < deadline, "the spans do not arrive");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(TRACER.begin("last", Kind::Internal, Some(above)));
    exporter.stop(DEADLINE).await;

    let spans = collector.spans.lock().unwrap().clone();
    let named = |name: &str| spans.iter().find(|span| span["name"] == name).cloned().unwrap_or_default();
    assert_eq!(spans.len(), 3, "{spans:?}");
    assert_eq!(named("below")["parentSpanId"], json!(above.span_id()));
    assert_eq!(named("below")["spanId"], json!(below.span_id()));
    assert_eq!(named("below")["status"]["message"], json!("broken"));
    assert_eq!((&named("above")["parentSpanId"], &named("above")["service"]), (&json!(""), &json!("role")));
    assert!(spans.iter().all(|span| span["traceId"] == json!(above.trace_id())));
    let gathered = prometheus::TextEncoder::new().encode_to_string(&prometheus::gather()).unwrap();
    assert!(gathered.contains("banyan_telemetry_spans_total{outcome=\"exported\"} 3"), "{gathered}");
    assert!(!gathered.contains("outcome=\"failed\"} 1"), "{gathered}");
}
