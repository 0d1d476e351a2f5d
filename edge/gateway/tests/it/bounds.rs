//! Bounds on what the monolith is asked at the same time, and on bodies.

use crate::client::Ask;
use crate::world::{World, until};

#[tokio::test]
async fn a_group_that_hangs_takes_no_more_than_its_bound() {
    let world = World::start_with(|config| config.group_queue_ms_max = 10).await;
    let hanging = || Ask::new("POST", "/payments/hang").form("amount=1");
    let first = [hanging().start(world.gateway), hanging().start(world.gateway)];
    until("both hang", async || world.monolith.seen().len() == 2).await;
    for path in ["/payments", "/api/payments/7", "/payments/new"] {
        let answer = world.ask(Ask::new("GET", path)).await;
        assert_eq!((answer.code(), answer.problem().as_str()), (503, "group_full"), "{path}");
    }
    // Everything else goes on.
    for ask in
        [Ask::new("GET", "/"), Ask::of_user("GET", "/api/notifications", "7"), Ask::new("GET", "/login")]
    {
        assert_eq!(world.ask(ask).await.text(), "monolith");
    }
    assert_eq!(world.monolith.seen().iter().filter(|s| s.target.contains("payments")).count(), 2);
    world.monolith.open_gate(true);
    for answer in first {
        assert_eq!(answer.await.unwrap().code(), 200);
    }
    assert_eq!(world.ask(Ask::new("GET", "/payments")).await.text(), "monolith");
}

#[tokio::test]
async fn a_client_that_leaves_does_not_free_the_monoliths_worker() {
    let world = World::start_with(|config| config.group_queue_ms_max = 10).await;
    let hanging = [0, 1].map(|_| Ask::new("GET", "/payments/hang").start(world.gateway));
    until("both hang", async || world.monolith.seen().len() == 2).await;
    hanging.iter().for_each(|task| task.abort());
    for _ in 0..20 {
        assert_eq!(world.ask(Ask::new("GET", "/payments")).await.problem(), "group_full");
    }
    world.monolith.open_gate(true);
    until("there is room again", async || world.ask(Ask::new("GET", "/payments")).await.code() == 200).await;
}

#[tokio::test]
async fn a_burst_waits_for_a_moment_and_is_no_failure() {
    let world = World::start_with(|config| config.group_queue_ms_max = 20_000).await;
    let burst: Vec<_> = (0..6).map(|_| Ask::new("POST", "/payments/hang").start(world.gateway)).collect();
    until("two hang", async || world.monolith.seen().len() == 2).await;
    assert_eq!(world.ask(Ask::new("GET", "/")).await.code(), 200);
    assert_eq!(world.monolith.seen().len(), 3);
    world.monolith.open_gate(true);
    for answer in burst {
        assert_eq!(answer.await.unwrap().code(), 200);
    }
    assert_eq!(world.monolith.seen().len(), 7);
}

#[tokio::test]
async fn a_monolith_that_does_not_answer_is_told_as_that() {
    let world = World::start_with(|config| config.monolith_timeout_ms = 50).await;
    let answer = world.ask(Ask::new("POST", "/hang").form("a=b")).await;
    assert_eq!((answer.code(), answer.problem().as_str()), (504, "upstream_timeout"));
    assert_eq!(world.monolith.seen().len(), 1);
}

#[tokio::test]
async fn bodies_are_limited_in_size_and_time() {
    let world = World::start_with(|config| {
        config.body_bytes_max = 1000;
        config.body_idle_timeout_ms = 50;
    })
    .await;
    let answer = world.ask(Ask::new("POST", "/echo").body("text/plain", &"x".repeat(1001))).await;
    assert_eq!((answer.code(), answer.problem().as_str()), (413, "body_too_large"));
    assert_eq!(world.ask(Ask::new("POST", "/echo").body("text/plain", &"x".repeat(1000))).await.code(), 200);
    let head = "POST /x HTTP/1.1\r\nHost: h\r\n";
    let chunks = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n{}",
        "100\r\n".to_owned() + &"x".repeat(256) + "\r\n"
    );
    let chunked = chunks + &("100\r\n".to_owned() + &"x".repeat(256) + "\r\n").repeat(4) + "0\r\n\r\n";
    let answer = crate::client::raw(world.gateway, chunked.as_bytes(), "").await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let slow = format!("{head}Content-Length: 10\r\n\r\nhello");
    let answer = crate::client::raw(world.gateway, slow.as_bytes(), "").await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("body_timeout"), "{answer}");
}

#[tokio::test]
async fn figures_tell_who_answered_what() {
    let world = World::start().await;
    let line = "banyan_gateway_requests_total{route=\"notifications\",status=\"2xx\",upstream=\"monolith\"}";
    let before = world.metric(line).await;
    assert_eq!(world.ask(Ask::of_user("GET", "/api/notifications", "7")).await.code(), 200);
    until("it is counted", async || world.metric(line).await > before).await;
    let refused = world.admin.get::<serde_json::Value>("/v1/holds").await.unwrap();
    assert_eq!(refused["hold_ms"]["count"], 0);
    let holds = format!("{}/v1/holds", world.admin.base_url());
    let address = holds.trim_start_matches("http://").split('/').next().unwrap().parse().unwrap();
    assert_eq!(Ask::new("GET", "/v1/holds").send(address).await.problem(), "role_token");
    assert_eq!(Ask::new("GET", "/healthz").send(address).await.code(), 200);
}
