//! Connections that change their protocol.

use banyan_core::{Phase, Side};
use banyan_runtime::tasks::Tasks;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Ask, PATIENCE, raw};
use crate::peers::{Auth, Control};
use crate::secure::Authority;
use crate::switching::Switching;
use crate::world::{Gateway, Stopping, Urls, World, until};

async fn start(change: impl FnOnce(&mut banyan_gateway::Config)) -> (Switching, Gateway, Stopping) {
    let tasks = Tasks::new();
    let origin = Switching::start(&tasks).await;
    let urls = Urls { monolith: origin.url(), service: origin.url() };
    let gateway = Gateway::start(urls, (&Auth::default(), &Control::default()), change).await;
    (origin, gateway, Stopping(tasks))
}

fn ask(path: &str, token: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: {token}\r\nSec-WebSocket-Key: k\r\n\r\n"
    )
}

/// Sends this and reads until that has come.
async fn say(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), sent: &str, wanted: &str) -> String {
    let exchange = async {
        stream.write_all(sent.as_bytes()).await.unwrap();
        let (mut text, mut space) = (String::new(), [0; 4096]);
        while !text.ends_with(wanted) {
            let count = stream.read(&mut space).await.unwrap();
            assert!(count > 0, "{text:?} ended before {wanted:?}");
            text.push_str(&String::from_utf8_lossy(&space[..count]));
        }
        text
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("what is wanted comes in time")
}

/// Reads to the end of the connection.
async fn end(mut stream: impl AsyncReadExt + Unpin) -> Vec<u8> {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("an end in time");
    read.map(|_| rest).unwrap_or_default()
}

async fn metric(gateway: &Gateway, beginning: &str) -> f64 {
    let address = gateway.admin.base_url().trim_start_matches("http://").parse().unwrap();
    let metrics = Ask::new("GET", "/metrics").send(address).await.text();
    metrics.lines().find_map(|line| line.strip_prefix(beginning)?.trim().parse().ok()).unwrap_or(0.0)
}

/// What a browser does with a WebSocket, as far as the gateway sees it.
async fn converse(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin) {
    let answer = say(&mut stream, &ask("/socket", "websocket"), "\r\n\r\n").await.to_lowercase();
    assert!(answer.starts_with("http/1.1 101 switching protocols\r\n"), "{answer}");
    for line in
        ["\r\nconnection: upgrade\r\n", "\r\nupgrade: websocket\r\n", "\r\nsec-websocket-accept: x\r\n"]
    {
        assert_eq!(answer.matches(line).count(), 1, "{answer}");
    }
    for number in 0..10 {
        say(&mut stream, &format!("piece {number} "), &format!("PIECE {number} ")).await;
    }
    stream.shutdown().await.unwrap();
    assert_eq!(end(stream).await, b"");
}

#[tokio::test]
async fn a_websocket_carries_bytes_both_ways_until_one_side_ends_it() {
    let (origin, gateway, _stop) = start(|_| {}).await;
    let carried = metric(&gateway, "banyan_gateway_upgraded_bytes_total{direction=\"up\"}").await;
    converse(TcpStream::connect(gateway.address).await.unwrap()).await;
    let head = origin.heads().pop().unwrap();
    for line in ["\r\nconnection: upgrade\r\n", "\r\nupgrade: websocket\r\n", "\r\nsec-websocket-key: k\r\n"]
    {
        assert_eq!(head.matches(line).count(), 1, "{head}");
    }
    let up = "banyan_gateway_upgraded_bytes_total{direction=\"up\"}";
    assert!(metric(&gateway, up).await >= carried + 80.0);
    let closed = "banyan_gateway_upgraded_ended_total{reason=\"closed\"}";
    until("its end is counted", async || metric(&gateway, closed).await > 0.0).await;
}

#[tokio::test]
async fn a_websocket_over_tls_is_one_too() {
    let authority = Authority::new();
    let options = authority.options();
    let (_origin, gateway, _stop) = start(|config| config.tls = Some(options)).await;
    converse(authority.connect(gateway.address, ("shop.example", &["http/1.1"])).await).await;
}

#[tokio::test]
async fn what_is_sent_early_belongs_to_the_protocol_that_is_chosen() {
    let (origin, gateway, _stop) = start(|_| {}).await;
    let hidden = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";
    let sent = format!("{}{hidden}", ask("/socket", "websocket"));
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let answer = say(&mut stream, &sent, &hidden.to_uppercase()).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert_eq!(origin.heads().len(), 1, "{:?}", origin.heads());
    // Where the protocol stays, it is the next request.
    let next = "GET /next HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let answer = raw(gateway.address, format!("{}{next}", ask("/refuse", "websocket")).as_bytes(), "").await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
    let heads = origin.heads();
    assert!(heads[1].starts_with("get /refuse") && heads[1].contains("upgrade: websocket"), "{heads:?}");
    assert!(heads[2].starts_with("get /next") && !heads[2].contains("upgrade"), "{heads:?}");
    // Or it is none, and is refused.
    let bad = "GET /bad HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n";
    let answer = raw(gateway.address, format!("{}{bad}", ask("/refuse", "websocket")).as_bytes(), "").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("HTTP/1.1 400 Bad Request"), "{answer}");
    assert!(!origin.heads().iter().any(|head| head.contains("/bad")));
}

#[tokio::test]
async fn what_is_not_listed_or_not_asked_for_rightly_is_ignored() {
    let (origin, gateway, _stop) = start(|config| config.upgrades = vec!["chat".into()]).await;
    let next = "GET /next HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    for sent in [
        ask("/a", "websocket"),
        ask("/a", "h2c")
            .replace("Upgrade\r\n", "Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
        ask("/a", "chat, h2c"),
        ask("/a", "chat\r\nUpgrade: h2c"),
        ask("/a", "chat").replace("GET", "POST"),
        ask("/a", "chat").replace("keep-alive, Upgrade", "keep-alive"),
        ask("/a", "chat").replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello"),
    ] {
        let before = origin.heads().len();
        let answer = raw(gateway.address, format!("{sent}{next}").as_bytes(), "").await;
        assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{sent}: {answer}");
        let heads = origin.heads();
        assert!(!heads[before].contains("upgrade") && !heads[before].contains("settings"), "{heads:?}");
    }
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    // The upstream answers with another protocol than the one that is listed here and was asked for.
    let answer = say(&mut stream, &ask("/socket", "Chat"), "}").await;
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("upstream_lost"), "{answer}");
}

#[tokio::test]
async fn upstreams_cannot_change_the_protocol_by_themselves() {
    let (_origin, gateway, _stop) = start(|_| {}).await;
    for path in ["/unasked", "/other"] {
        let sent = if path == "/other" { ask(path, "websocket") } else { ask(path, "x") };
        let answer = raw(gateway.address, sent.as_bytes(), "}").await;
        assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("upstream_lost"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn changed_connections_are_bounded_in_number() {
    let (_origin, gateway, _stop) = start(|config| config.upgraded_max = 1).await;
    let mut first = TcpStream::connect(gateway.address).await.unwrap();
    say(&mut first, &ask("/socket", "websocket"), "\r\n\r\n").await;
    let answer = raw(gateway.address, ask("/socket", "websocket").as_bytes(), "}").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("upgrade_limit"), "{answer}");
    drop(first);
    until("there is a place again", async || {
        raw(gateway.address, ask("/socket", "websocket").as_bytes(), "\r\n\r\n").await.contains(" 101 ")
    })
    .await;
}

#[tokio::test]
async fn a_changed_connection_that_is_silent_is_closed() {
    let (_origin, gateway, _stop) = start(|config| config.stream_idle_timeout_ms = 100).await;
    let idle = "banyan_gateway_upgraded_ended_total{reason=\"idle\"}";
    let before = metric(&gateway, idle).await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    say(&mut stream, &ask("/socket", "websocket"), "\r\n\r\n").await;
    assert_eq!(end(stream).await, b"");
    assert!(metric(&gateway, idle).await > before);
}

#[tokio::test]
async fn a_changed_connection_goes_on_until_the_drain_deadline() {
    for (drain_ms_max, goes_on) in [(600_000, true), (0, false)] {
        let (_origin, gateway, _stop) = start(|config| config.drain_ms_max = drain_ms_max).await;
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        say(&mut stream, &ask("/socket", "websocket"), "\r\n\r\n").await;
        gateway.tasks.request_shutdown();
        until("nobody listens", async || TcpStream::connect(gateway.address).await.is_err()).await;
        if goes_on {
            say(&mut stream, "still here", "STILL HERE").await;
            continue;
        }
        assert_eq!(end(stream).await, b"");
        gateway.tasks.stop(Duration::from_secs(60)).await;
        assert!(metric(&gateway, "banyan_gateway_upgraded_ended_total{reason=\"drained\"}").await > 0.0);
    }
}

#[tokio::test]
async fn the_owner_of_the_data_is_the_one_who_is_asked() {
    let world = World::start().await;
    world.set(&["7"], (Side::Service, Phase::Steady, 2)).await;
    let request =
        ask("/api/notifications", "websocket").replace("\r\n\r\n", "\r\nCookie: shop_session=7\r\n\r\n");
    let answer = raw(world.gateway, request.as_bytes(), "service").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert_eq!(world.service.last().header("upgrade"), Some("websocket"));
    assert!(world.monolith.seen().is_empty());
}
