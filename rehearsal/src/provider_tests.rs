use super::*;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

struct Running {
    url: String,
    _serving: JoinSet<()>,
}

async fn start() -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let options = ProviderOptions { port: 0, latency_ms: 1, seed: 1 };
        accept(listener, &options).await.unwrap();
    });
    Running { url, _serving: serving }
}

/// The status and the JSON, or `None` where the connection was closed without an answer.
async fn call(url: &str, method: Method, path: &str, body: Value) -> Option<(u16, Value)> {
    let client = Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http();
    let request = Request::builder().method(method).uri(format!("{url}{path}"));
    let answer =
        client.request(request.body(Full::new(Bytes::from(body.to_string()))).unwrap()).await.ok()?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    Some((status, serde_json::from_slice(&body).unwrap()))
}

fn charge(amount: &str, reference: &str) -> Value {
    json!({ "amount": amount, "currency": "EUR", "reference": reference })
}

async fn references(url: &str) -> Vec<String> {
    let (_, charges) = call(url, Method::GET, "/charges", Value::Null).await.unwrap();
    let charges: Vec<Charge> = serde_json::from_value(charges).unwrap();
    charges.into_iter().filter_map(|c| c.reference).collect()
}

#[tokio::test]
async fn only_captured_charges_are_listed() {
    let provider = start().await;
    let url = &provider.url;
    let captured = call(url, Method::POST, "/charges", charge("12.50", "a")).await.unwrap();
    assert_eq!((captured.0, captured.1["status"].as_str()), (200, Some("captured")));
    let declined = call(url, Method::POST, "/charges", charge("12.13", "b")).await.unwrap();
    assert_eq!(declined.0, 402);
    call(url, Method::PUT, "/control", json!({ "mode": "fail" })).await.unwrap();
    assert_eq!(call(url, Method::POST, "/charges", charge("1.00", "c")).await.unwrap().0, 500);
    assert_eq!(call(url, Method::PUT, "/control", json!({ "mode": "dance" })).await.unwrap().0, 400);
    assert_eq!(references(url).await, ["a"]);
}

#[tokio::test]
async fn a_hang_ends_with_closed_connections_and_charges_nothing() {
    let provider = start().await;
    let url = provider.url.clone();
    call(&url, Method::PUT, "/control", json!({ "mode": "hang" })).await.unwrap();
    let mut hanging = JoinSet::new();
    let charging = url.clone();
    hanging.spawn(async move { call(&charging, Method::POST, "/charges", charge("1.00", "a")).await });
    loop {
        let (_, control) = call(&url, Method::GET, "/control", Value::Null).await.unwrap();
        if control["hanging"] == 1 {
            break;
        }
    }
    assert!(hanging.try_join_next().is_none(), "answered while it hangs");
    call(&url, Method::PUT, "/control", json!({ "mode": "normal" })).await.unwrap();
    assert_eq!(hanging.join_next().await.unwrap().unwrap(), None);
    assert_eq!(references(&url).await, Vec::<String>::new());
}
