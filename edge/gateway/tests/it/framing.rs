//! Requests that readers could read differently never reach an upstream, seen in the bytes that it gets.

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

/// A second request that an attacker hides in the first.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";

/// A name, the request, and the status that refuses it.
type Attack = (&'static str, String, &'static str);

fn post(headers: &str, body: &str) -> String {
    format!("POST /visible HTTP/1.1\r\nHost: h\r\n{headers}\r\n{body}{HIDDEN}")
}

fn line(line: &str) -> String {
    format!("{line}\r\nHost: h\r\n\r\n{HIDDEN}")
}

fn lengths_and_codings() -> Vec<Attack> {
    let both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
    vec![
        ("both, length first", post(both, "0\r\n\r\n"), "400"),
        (
            "both, coding first",
            post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
            "400",
        ),
        (
            "both, length zero",
            post("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            "400",
        ),
        ("two lengths that differ", post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"), "400"),
        ("two equal lengths", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), "400"),
        ("a list of lengths", post("Content-Length: 5, 5\r\n", "hello"), "400"),
        ("a signed length", post("Content-Length: +5\r\n", "hello"), "400"),
        ("a negative length", post("Content-Length: -5\r\n", "hello"), "400"),
        ("a hexadecimal length", post("Content-Length: 0x5\r\n", "hello"), "400"),
        ("a length with a fraction", post("Content-Length: 5.0\r\n", "hello"), "400"),
        ("an empty length", post("Content-Length:\r\n", "hello"), "400"),
        ("an overflowing length", post("Content-Length: 18446744073709551621\r\n", "hello"), "400"),
        ("a length with a space inside", post("Content-Length: 5 5\r\n", "hello"), "400"),
        ("gzip, chunked", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), "400"),
        ("chunked, identity", post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"), "400"),
        ("identity", post("Transfer-Encoding: identity\r\n", ""), "400"),
        ("xchunked", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), "400"),
        ("quoted chunked", post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"), "400"),
        ("chunked with a vertical tab", post("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"), "400"),
        (
            "two codings",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            "400",
        ),
        ("an empty coding", post("Transfer-Encoding:\r\n", "0\r\n\r\n"), "400"),
    ]
}

fn malformed_heads() -> Vec<Attack> {
    vec![
        ("a space before the colon", post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), "400"),
        ("a space before the name", post(" Transfer-Encoding: chunked\r\n", "0\r\n\r\n"), "400"),
        ("a folded header", post("X: a\r\n Transfer-Encoding: chunked\r\n", "0\r\n\r\n"), "400"),
        ("a folded coding", post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"), "400"),
        ("a bare LF ends a header", post("X: a\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), "400"),
        ("a bare CR in a header", post("X: a\rTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), "400"),
        ("a NUL in a header", post("X: a\0b\r\n", ""), "400"),
        ("a NUL in a name", post("X\0: a\r\n", ""), "400"),
        ("a header without a colon", post("X\r\n", ""), "400"),
        ("a header without a name", post(": x\r\n", ""), "400"),
        ("a bare LF ends the request line", format!("GET / HTTP/1.1\nHost: h\r\n\r\n{HIDDEN}"), "400"),
        ("bare LFs everywhere", "GET / HTTP/1.1\nHost: h\n\n".into(), "400"),
        ("a bare LF ends the head", format!("GET / HTTP/1.1\r\nHost: h\r\n\n{HIDDEN}"), "400"),
        (
            "coding in HTTP/1.0",
            format!("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"),
            "400",
        ),
    ]
}

fn hosts_targets_and_versions() -> Vec<Attack> {
    vec![
        ("no host", format!("GET / HTTP/1.1\r\n\r\n{HIDDEN}"), "400"),
        ("an empty host", format!("GET / HTTP/1.1\r\nHost:\r\n\r\n{HIDDEN}"), "400"),
        ("two hosts", format!("GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n{HIDDEN}"), "400"),
        ("two equal hosts", format!("GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n{HIDDEN}"), "400"),
        ("a host with a user", format!("GET / HTTP/1.1\r\nHost: u@h\r\n\r\n{HIDDEN}"), "400"),
        ("a host with a path", format!("GET / HTTP/1.1\r\nHost: h/x\r\n\r\n{HIDDEN}"), "400"),
        ("a host list", format!("GET / HTTP/1.1\r\nHost: h, i\r\n\r\n{HIDDEN}"), "400"),
        ("a host with a wild port", format!("GET / HTTP/1.1\r\nHost: h:80x\r\n\r\n{HIDDEN}"), "400"),
        ("another host in the target", format!("GET http://i/ HTTP/1.1\r\nHost: h\r\n\r\n{HIDDEN}"), "400"),
        ("a user in the target", format!("GET http://u@h/ HTTP/1.1\r\nHost: u@h\r\n\r\n{HIDDEN}"), "400"),
        ("two spaces in the request line", line("GET  / HTTP/1.1"), "400"),
        ("a tab in the request line", line("GET\t/ HTTP/1.1"), "400"),
        ("a space in the target", line("GET /a b HTTP/1.1"), "400"),
        ("a fragment in the target", line("GET /a#b HTTP/1.1"), "400"),
        ("a target without a slash", line("GET a HTTP/1.1"), "400"),
        ("a method that is no token", line("G@T / HTTP/1.1"), "400"),
        ("no version", line("GET /"), "400"),
        ("a longer version", line("GET / HTTP/1.10"), "505"),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), "505"),
        ("a tunnel", "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n".into(), "405"),
        ("TRACE", format!("TRACE / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n{HIDDEN}"), "405"),
        (
            "another expectation",
            "GET / HTTP/1.1\r\nHost: h\r\nExpect: x\r\nConnection: close\r\n\r\n".into(),
            "417",
        ),
    ]
}

#[tokio::test]
async fn ambiguous_requests_are_refused_and_nothing_of_them_is_sent() {
    let (origin, gateway, _stop) = start().await;
    let table = [lengths_and_codings(), malformed_heads(), hosts_targets_and_versions()].concat();
    for (name, request, status) in table {
        let answer = raw(gateway.address, request.as_bytes(), "}").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {answer:?}");
        assert_eq!(answer.matches("\r\n\r\n").count(), 1, "{name}: {answer:?}");
        assert_eq!(origin.text(), "", "{name}");
    }
}

#[tokio::test]
async fn a_body_that_is_framed_wrongly_is_never_a_whole_request() {
    let (origin, gateway, _stop) = start().await;
    let head = "POST /visible HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff5\r\nhello\r\n0\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
    ] {
        let answer = raw(gateway.address, format!("{head}{body}{HIDDEN}").as_bytes(), "").await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{body:?}: {answer:?}");
        let text = origin.text();
        assert!(!text.contains("hidden") && !text.ends_with("0\r\n\r\n"), "{body:?}: {text:?}");
    }
}

#[tokio::test]
async fn what_is_sound_passes_however_it_is_framed() {
    let (origin, gateway, _stop) = start().await;
    let pipelined = "POST /one HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello\
         POST /two HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nX: y\r\n\r\n\
         GET /three HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\
         OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let answer = raw(gateway.address, pipelined.as_bytes(), "").await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 4, "{answer}");
    let text = origin.text();
    assert!(text.contains("POST /one HTTP/1.1\r\n") && text.contains("content-length: 5\r\n"), "{text}");
    let (_, two) = text.split_once("POST /two").unwrap();
    assert!(two.contains("transfer-encoding: chunked\r\n") && !two.to_lowercase().contains("x: y"), "{two}");
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
