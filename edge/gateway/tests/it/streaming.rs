//! Bodies stream both ways, and what has no body has none.

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Method, Request};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::client::{Ask, PATIENCE, raw};
use crate::world::World;

#[tokio::test]
async fn a_body_comes_back_while_it_is_still_being_sent() {
    let world = World::start().await;
    let stream = TcpStream::connect(world.gateway).await.unwrap();
    let (mut sender, driver) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let _ = driver.await;
    });
    let (pieces, source) = mpsc::channel::<Bytes>(1);
    let source = futures_util::stream::unfold(source, |mut source| async move {
        Some((Ok::<_, Infallible>(Frame::data(source.recv().await?)), source))
    });
    let body = StreamBody::new(source.boxed());
    let request =
        Request::builder().method(Method::POST).uri("/echo").header("host", "h").body(body).unwrap();
    let exchange = async {
        let answer = sender.send_request(request);
        pieces.send(Bytes::from_static(b"first")).await.unwrap();
        let mut answer = answer.await.unwrap().into_body();
        let mut next = async || answer.frame().await.map(|f| f.unwrap().into_data().unwrap());
        // The first piece is back before the second is sent: nobody waits for the whole.
        assert_eq!(next().await.unwrap(), "first");
        let large = Bytes::from(vec![b'x'; 1 << 20]);
        for _ in 0..32 {
            pieces.send(large.clone()).await.unwrap();
            let mut left = large.len();
            while left > 0 {
                left -= next().await.unwrap().len();
            }
        }
        drop(pieces);
        assert_eq!(next().await, None);
    };
    tokio::time::timeout(PATIENCE, exchange).await.unwrap();
}

#[tokio::test]
async fn large_answers_arrive_whole() {
    let world = World::start().await;
    // 64 MiB, without a length.
    let answer = world.ask(Ask::new("GET", "/large?1024")).await;
    assert_eq!(answer.body.len(), 64 << 20);
}

#[tokio::test]
async fn answers_without_a_body_have_none_and_the_connection_goes_on() {
    let world = World::start().await;
    let mut client = crate::client::Connection::open(world.gateway).await;
    world.monolith.script(204, &[], "");
    assert_eq!(client.send(Ask::new("DELETE", "/x")).await.code(), 204);
    world.monolith.script(304, &[("etag", "\"1\"")], "");
    let answer = client.send(Ask::new("GET", "/x")).await;
    assert_eq!(
        (answer.code(), answer.headers["etag"].as_bytes(), answer.body.len()),
        (304, &b"\"1\""[..], 0)
    );
    let answer = client.send(Ask::new("HEAD", "/x")).await;
    assert_eq!((answer.code(), answer.headers["content-length"].as_bytes()), (200, &b"8"[..]));
    world.monolith.script(302, &[("location", "http://shop.example/y"), ("set-cookie", "a=1")], "");
    let answer = client.send(Ask::new("POST", "/x").header("content-length", "0")).await;
    assert_eq!(answer.headers["location"], "http://shop.example/y");
    assert_eq!(world.monolith.last().header("content-length"), Some("0"));
    assert_eq!(client.send(Ask::new("GET", "/x")).await.text(), "monolith");
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_told_to_go_on() {
    let world = World::start().await;
    let head = "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    let answer = raw(world.gateway, format!("{head}hello").as_bytes(), "").await;
    assert!(
        answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK") && answer.ends_with("hello"),
        "{answer}"
    );
    assert_eq!(world.monolith.last().header("expect"), None);
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_and_is_refused_is_told_only_that() {
    let world = World::start_with(|config| config.body_bytes_max = 4).await;
    let head = "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let answer = raw(world.gateway, head.as_bytes(), "}").await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && !answer.contains(" 100 "), "{answer}");
    assert!(world.monolith.seen().is_empty());
}
