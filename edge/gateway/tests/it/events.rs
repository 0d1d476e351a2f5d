//! Streams of events: each one passes by itself, silence is no fault, and the end is one that a reader knows.

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Ask, PATIENCE};
use crate::secure::{Authority, Http2};
use crate::world::{World, until};

const GET: &[u8] = b"GET /events HTTP/1.1\r\nHost: h\r\n\r\n";
const BODY_IDLE: Duration = Duration::from_millis(200);

/// Reads until this has come.
async fn read(stream: &mut TcpStream, wanted: &str) -> String {
    let (mut text, mut space) = (String::new(), [0; 4096]);
    while !text.ends_with(wanted) {
        let count = tokio::time::timeout(PATIENCE, stream.read(&mut space)).await.unwrap().unwrap();
        assert!(count > 0, "{text:?} ended before {wanted:?}");
        text.push_str(&String::from_utf8_lossy(&space[..count]));
    }
    text
}

/// The next piece that is not empty.
async fn next(body: &mut Incoming) -> Option<Result<String, hyper::Error>> {
    loop {
        let frame =
            tokio::time::timeout(PATIENCE, body.frame()).await.expect("a piece or the end in time")?;
        match frame.map(|frame| String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()) {
            Ok(piece) if piece.is_empty() => {}
            piece => return Some(piece),
        }
    }
}

#[tokio::test]
async fn events_pass_one_at_a_time_and_may_be_far_apart() {
    let authority = Authority::new();
    for options in [None, Some(authority.options())] {
        let is_http_2 = options.is_some();
        let world = World::start_with(|config| {
            config.tls = options;
            config.body_idle_timeout_ms = BODY_IDLE.as_millis() as u64;
        })
        .await;
        if is_http_2 {
            let client = Http2::open(&authority, world.gateway).await;
            let mut body = client.begin(Ask::new("GET", "/events")).await;
            for number in ["1", "2", "3"] {
                // Longer than any other answer may be silent.
                tokio::time::sleep(2 * BODY_IDLE).await;
                assert_eq!(world.monolith.event(number), 1);
                assert_eq!(next(&mut body).await.unwrap().unwrap(), format!("data: {number}\n\n"));
            }
        } else {
            let mut stream = TcpStream::connect(world.gateway).await.unwrap();
            stream.write_all(GET).await.unwrap();
            read(&mut stream, "\r\n\r\n").await;
            for number in ["1", "2", "3"] {
                tokio::time::sleep(2 * BODY_IDLE).await;
                assert_eq!(world.monolith.event(number), 1);
                read(&mut stream, &format!("data: {number}\n\n\r\n")).await;
            }
        }
    }
}

#[tokio::test]
async fn a_stream_of_events_that_is_silent_for_too_long_is_closed() {
    let world = World::start_with(|config| config.stream_idle_timeout_ms = 100).await;
    let mut stream = TcpStream::connect(world.gateway).await.unwrap();
    stream.write_all(GET).await.unwrap();
    let mut text = Vec::new();
    let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut text)).await.expect("an end in time");
    assert!(end.is_err() || !text.ends_with(b"0\r\n\r\n"), "{text:?}");
    until("the monolith notices", async || world.monolith.event("x") == 0).await;
}

#[tokio::test]
async fn at_the_drain_deadline_events_end_cleanly_and_other_answers_do_not() {
    let authority = Authority::new();
    for options in [None, Some(authority.options())] {
        let is_http_2 = options.is_some();
        let world = World::start_with(|config| {
            config.tls = options;
            config.drain_ms_max = 500;
        })
        .await;
        if is_http_2 {
            let client = Http2::open(&authority, world.gateway).await;
            let mut events = client.begin(Ask::new("GET", "/events")).await;
            let mut cut = client.begin(Ask::new("GET", "/trickle")).await;
            assert_eq!(next(&mut cut).await.unwrap().unwrap(), "begun");
            world.tasks.request_shutdown();
            let end = next(&mut events).await;
            assert!(end.is_none(), "{end:?}");
            assert!(next(&mut cut).await.unwrap().is_err());
        } else {
            let mut events = TcpStream::connect(world.gateway).await.unwrap();
            events.write_all(GET).await.unwrap();
            read(&mut events, "\r\n\r\n").await;
            let mut cut = Ask::new("GET", "/trickle").begin(world.gateway, "begun").await;
            world.tasks.request_shutdown();
            read(&mut events, "0\r\n\r\n").await;
            let mut rest = Vec::new();
            let end =
                tokio::time::timeout(PATIENCE, cut.read_to_end(&mut rest)).await.expect("an end in time");
            assert!(end.is_err() || !rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
        }
        world.tasks.stop(PATIENCE).await;
        assert_eq!(world.tasks.failure(), None);
    }
}
