//! Roles talk to each other over real sockets.
#![cfg(test)]

mod otlp;

use axum::routing::{get, post};
use axum::{Json, Router};
use banyan_runtime::client::{CallError, RoleClient};
use banyan_runtime::http::{Problem, metrics_route, role_only, serve};
use banyan_runtime::secrets::RoleToken;
use banyan_runtime::tasks::{OnError, Tasks};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::net::TcpListener;

async fn role(tasks: &Tasks, token: &RoleToken) -> String {
    let refuse = || async {
        Problem::new(axum::http::StatusCode::CONFLICT, "not_owner", "bucket 7 moved").retry_after(1)
    };
    let protected = Router::new()
        .route("/v1/echo", post(|Json(body): Json<Value>| async { Json(body) }))
        .route("/v1/refuse", get(refuse))
        .route("/v1/never", get(std::future::pending::<()>));
    let router = role_only(protected, token).merge(metrics_route());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn("role", OnError::Log, serve(listener, router, tasks.shutdown()));
    format!("http://{address}")
}

#[tokio::test]
async fn a_call_says_what_became_of_it() {
    let (tasks, token) = (Tasks::new(), RoleToken::new("secret"));
    let url = role(&tasks, &token).await;
    let client = RoleClient::new(&url, token);
    let echoed: Value = client.post("/v1/echo", &json!({"n": 1})).await.unwrap();
    assert_eq!(echoed, json!({"n": 1}));
    let refused = client.get::<Value>("/v1/refuse").await.unwrap_err();
    assert!(refused.is_refused("not_owner") && refused.to_string().contains("bucket 7 moved"), "{refused}");
    let unknown = client.timeout(Duration::from_millis(20)).get::<Value>("/v1/never").await.unwrap_err();
    assert!(matches!(unknown, CallError::Unknown(_)), "{unknown}");
    let nobody = RoleClient::new("http://127.0.0.1:1", RoleToken::new("secret"));
    assert!(matches!(nobody.get::<Value>("/").await, Err(CallError::Unsent(_))));
    tasks.stop(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn only_roles_may_call() {
    let tasks = Tasks::new();
    let url = role(&tasks, &RoleToken::new("secret")).await;
    let stranger = RoleClient::new(&url, RoleToken::new("guess"));
    assert!(stranger.post::<_, Value>("/v1/echo", &json!({})).await.unwrap_err().is_refused("role_token"));
    tasks.stop(Duration::from_secs(1)).await;
}
