//! HTTP/2: many requests on one connection, and its bounds.

use crate::client::Ask;
use crate::raw_http2::{END_STREAM, GOAWAY, Outcome, RST_STREAM, RawHttp2, SETTINGS};
use crate::secure::{Authority, Http2};
use crate::world::{World, until};

const CANCEL: [u8; 4] = [0, 0, 0, 8];

async fn start(authority: &Authority, change: impl FnOnce(&mut banyan_gateway::Config)) -> World {
    let options = authority.options();
    World::start_with(|config| {
        config.tls = Some(options);
        change(config);
    })
    .await
}

fn fields<'f>(method: &'f str, path: &'f str) -> [(&'f str, &'f str); 4] {
    [(":method", method), (":scheme", "https"), (":authority", "shop.example"), (":path", path)]
}

#[tokio::test]
async fn requests_share_a_connection_and_none_waits_for_another() {
    let authority = Authority::new();
    let world = start(&authority, |_| {}).await;
    let client = Http2::open(&authority, world.gateway).await;
    let hanging = client.send(Ask::of_user("POST", "/notifications/3/hang", "7").csrf());
    let others = async {
        until("it has been sent", async || world.monolith.seen().len() == 1).await;
        let large = client.send(Ask::new("GET", "/large?256")).await;
        assert_eq!(large.body.len(), 16 << 20);
        let body = "x".repeat(4 << 20);
        assert_eq!(client.send(Ask::new("POST", "/echo").body("text/plain", &body)).await.text(), body);
        world.monolith.open_gate(true);
    };
    let (answer, ()) = tokio::join!(hanging, others);
    assert_eq!(answer.code(), 200);
    // Answers without a body, and those of the gateway's own.
    let head = client.send(Ask::new("HEAD", "/x")).await;
    assert_eq!(
        (head.code(), head.headers["content-length"].as_bytes(), head.body.len()),
        (200, &b"8"[..], 0)
    );
    world.monolith.script(304, &[("etag", "\"1\"")], "");
    assert_eq!(client.send(Ask::new("GET", "/x")).await.code(), 304);
    assert_eq!(client.send(Ask::new("TRACE", "/x")).await.problem(), "method_not_allowed");
    let head = client.send(Ask::new("HEAD", "/x").header("expect", "x")).await;
    assert_eq!((head.code(), head.body.len()), (417, 0));
    let cookies = Ask::new("GET", "/x").header("cookie", "a=1").header("cookie", "b=2");
    assert_eq!(client.send(cookies).await.code(), 200);
    assert_eq!(world.monolith.last().header("cookie"), Some("a=1; b=2"));
    let too_large = "x".repeat(40 << 10);
    assert_eq!(client.send(Ask::new("GET", "/x").header("x", &too_large)).await.code(), 431);
    assert_eq!(client.send(Ask::new("GET", "/x")).await.text(), "monolith");
}

#[tokio::test]
async fn the_bounds_of_a_connection_are_told_to_the_client() {
    let authority = Authority::new();
    let world = start(&authority, |config| {
        config.http2_streams_max = 7;
        config.head_bytes_max = 4096;
    })
    .await;
    let mut client = RawHttp2::open(&authority, world.gateway, &[]).await;
    let settings = client.next().await.unwrap();
    let value = |id: u8| {
        let pair = settings.payload.chunks(6).find(|pair| pair[..2] == [0, id]).expect("the setting");
        u32::from_be_bytes(pair[2..].try_into().unwrap())
    };
    assert_eq!((settings.kind, value(3), value(6)), (SETTINGS, 7, 4096));
    // The eighth stream is refused, the others go on.
    for number in 0..8 {
        client.request(1 + 2 * number, &fields("GET", "/hang"), END_STREAM).await;
    }
    assert_eq!(client.outcome(15).await, Outcome::Reset);
    until("seven have been sent", async || world.monolith.seen().len() == 7).await;
    world.monolith.open_gate(true);
    assert_eq!(client.outcome(13).await, Outcome::Answered(200));
}

#[tokio::test]
async fn a_client_that_gives_up_what_it_asks_for_is_cut_off() {
    let authority = Authority::new();
    let world = start(&authority, |config| config.http2_resets_max = 10).await;
    let closed = "banyan_gateway_http2_closed_total{reason=\"resets\"}";
    let before = world.metric(closed).await;
    let mut client = RawHttp2::open(&authority, world.gateway, &[]).await;
    for number in 0..11 {
        let stream = 1 + 2 * number;
        client.request(stream, &fields("GET", "/hang"), END_STREAM).await;
        until("it has been sent", async || world.monolith.seen().len() as u32 > number).await;
        client.write((RST_STREAM, 0, stream), &CANCEL).await;
    }
    while client.next().await.is_some() {}
    assert!(world.metric(closed).await > before);
    // One that finishes what it asks for may give up as often.
    world.monolith.open_gate(true);
    let mut client = RawHttp2::open(&authority, world.gateway, &[]).await;
    for number in 0..30 {
        let stream = 1 + 4 * number;
        client.request(stream, &fields("GET", "/x"), END_STREAM).await;
        assert_eq!(client.outcome(stream).await, Outcome::Answered(200));
        let seen = world.monolith.seen().len();
        world.monolith.open_gate(false);
        client.request(stream + 2, &fields("GET", "/hang"), END_STREAM).await;
        until("it has been sent", async || world.monolith.seen().len() > seen).await;
        client.write((RST_STREAM, 0, stream + 2), &CANCEL).await;
    }
    client.request(201, &fields("GET", "/x"), END_STREAM).await;
    assert_eq!(client.outcome(201).await, Outcome::Answered(200));
}

#[tokio::test]
async fn resets_faster_than_requests_are_looked_at_end_the_connection() {
    let authority = Authority::new();
    let world = start(&authority, |_| {}).await;
    let mut client = RawHttp2::open(&authority, world.gateway, &[]).await;
    for number in 0..5_000 {
        let stream = 1 + 2 * number;
        client.request(stream, &fields("GET", "/x"), END_STREAM).await;
        client.write((RST_STREAM, 0, stream), &CANCEL).await;
    }
    while client.next().await.is_some() {}
    assert!(world.monolith.seen().len() < 1_000, "{}", world.monolith.seen().len());
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_reset_and_the_connection_goes_on() {
    let authority = Authority::new();
    let world = start(&authority, |config| config.body_idle_timeout_ms = 300).await;
    let stalled = "banyan_gateway_http2_stalled_total";
    let before = world.metric(stalled).await;
    // The initial window of a stream is zero bytes.
    let mut client = RawHttp2::open(&authority, world.gateway, &[0, 4, 0, 0, 0, 0]).await;
    client.request(1, &fields("GET", "/large?64"), END_STREAM).await;
    loop {
        let frame = client.next().await.expect("the connection goes on");
        if (frame.kind, frame.stream) == (RST_STREAM, 1) {
            break;
        }
        assert!(frame.kind != GOAWAY && frame.payload.len() < 1 << 10, "{frame:?}");
    }
    assert!(world.metric(stalled).await > before);
    client.request(3, &fields("HEAD", "/x"), END_STREAM).await;
    assert_eq!(client.outcome(3).await, Outcome::Answered(200));
}

#[tokio::test]
async fn an_idle_connection_is_ended() {
    let authority = Authority::new();
    let world = start(&authority, |config| config.idle_timeout_ms = 300).await;
    let mut client = RawHttp2::open(&authority, world.gateway, &[]).await;
    client.request(1, &fields("GET", "/x"), END_STREAM).await;
    assert_eq!(client.outcome(1).await, Outcome::Answered(200));
    let mut goodbye = false;
    while let Some(frame) = client.next().await {
        goodbye |= frame.kind == GOAWAY;
    }
    assert!(goodbye);
}
