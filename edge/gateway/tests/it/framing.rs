//! What is sound passes in one form, refusals keep their place, heads have limits.

use banyan_runtime::tasks::Tasks;

use crate::client::raw;
use crate::peers::{Auth, Control};
use crate::raw_origin::{Closing, RawOrigin};
use crate::world::{Gateway, Stopping, Urls};

async fn start() -> (RawOrigin, Gateway, Stopping) {
    start_with(|_| {}).await
}

async fn start_with(change: impl FnOnce(&mut banyan_gateway::Config)) -> (RawOrigin, Gateway, Stopping) {
    let tasks = Tasks::new();
    let origin = RawOrigin::start(Closing::Never, &tasks).await;
    let urls = Urls { monolith: origin.url(), service: origin.url() };
    let gateway = Gateway::start(urls, (&Auth::default(), &Control::default()), change).await;
    (origin, gateway, Stopping(tasks))
}

#[tokio::test]
async fn what_is_sound_passes_however_it_is_framed() {
    let (origin, gateway, _stop) = start().await;
    let pipelined = "POST /one HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello\
         POST /two HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nX: y\r\n\r\n\
         GET /three HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n\
         OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let answer = raw(gateway.address, pipelined.as_bytes(), "").await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 4, "{answer}");
    let text = origin.text();
    assert!(text.contains("POST /one HTTP/1.1\r\n") && text.contains("content-length: 5\r\n"), "{text}");
    let (_, two) = text.split_once("POST /two").unwrap();
    assert!(two.contains("transfer-encoding: chunked\r\n") && two.contains("\r\n0\r\nx: y\r\n\r\n"), "{two}");
    assert!(text.contains("GET /three HTTP/1.1") && !text.to_lowercase().contains("upgrade"), "{text}");
    assert!(text.contains("OPTIONS * HTTP/1.1\r\n"), "{text}");
    // HTTP/1.0 without a host gets one, and the connection is closed behind the answer.
    let answer = raw(gateway.address, b"GET /old HTTP/1.0\r\n\r\n", "").await;
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    assert!(origin.text().contains(&format!("host: {}\r\n", origin.address)), "{}", origin.text());
}

#[tokio::test]
async fn a_refusal_waits_for_its_turn() {
    let (origin, gateway, _stop) = start().await;
    let pipelined = "GET /one HTTP/1.1\r\nHost: h\r\n\r\nGET /two HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n";
    let answer = raw(gateway.address, pipelined.as_bytes(), "").await;
    let first = answer.find("HTTP/1.1 200 OK").unwrap();
    assert!(answer.find("HTTP/1.1 400 Bad Request").unwrap() > first, "{answer}");
    assert!(!origin.text().contains("/two"));
}

#[tokio::test]
async fn heads_are_limited_in_size_number_and_time() {
    let (origin, gateway, _stop) = start_with(|config| {
        config.head_bytes_max = 2048;
        config.headers_max = 10;
        config.head_timeout_ms = 50;
        config.idle_timeout_ms = 100;
    })
    .await;
    let long = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "a".repeat(2048));
    let many = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: a\r\n".repeat(10));
    for request in [long, many] {
        let answer = raw(gateway.address, request.as_bytes(), "").await;
        assert!(answer.starts_with("HTTP/1.1 431 ") && answer.contains("head_too_large"), "{answer}");
    }
    let slow = raw(gateway.address, b"GET / HTTP/1.1\r\nHost:", "").await;
    assert!(slow.starts_with("HTTP/1.1 408 ") && slow.contains("head_timeout"), "{slow}");
    // An idle connection is closed without a word.
    assert_eq!(raw(gateway.address, b"", "").await, "");
    assert_eq!(origin.text(), "");
}
