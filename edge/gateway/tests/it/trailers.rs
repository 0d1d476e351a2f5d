//! Trailers pass both ways, in both versions, except those that would count as part of a head.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;

use banyan_runtime::tasks::Tasks;

use crate::client::{PATIENCE, raw};
use crate::peers::{Auth, Control};
use crate::raw_origin::{Closing, RawOrigin};
use crate::secure::Authority;
use crate::switching::Switching;
use crate::world::{Gateway, Stopping, Urls};

#[tokio::test]
async fn a_requests_trailers_reach_the_upstream() {
    let tasks = Tasks::new();
    let _stop = Stopping(tasks.clone());
    let origin = RawOrigin::start(Closing::Never, &tasks).await;
    let urls = Urls { monolith: origin.url(), service: origin.url() };
    let authority = Authority::new();
    let (peers, options) = ((&Auth::default(), &Control::default()), authority.options());
    let plain = Gateway::start(urls, peers, |_| {}).await;
    let sent = "POST /one HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Host\r\n\
                Connection: close\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\nHost: i\r\nBanyan-Subject: 8\r\n\r\n";
    assert!(raw(plain.address, sent.as_bytes(), "").await.starts_with("HTTP/1.1 200 OK"));
    let text = origin.text();
    assert!(
        text.contains("trailer: x-sum\r\n") && text.ends_with("hello\r\n0\r\nx-sum: 7\r\n\r\n"),
        "{text}"
    );
    let urls = Urls { monolith: origin.url(), service: origin.url() };
    let secure = Gateway::start(urls, peers, |config| config.tls = Some(options)).await;
    let body = StreamBody::new(futures_util::stream::iter([
        Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"world"))),
        Ok(Frame::trailers(HeaderMap::from_iter(
            [("x-sum", 9), ("cookie", 1)]
                .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from(value))),
        ))),
    ]));
    let request =
        Request::post("https://shop.example/two").header("trailer", "x-sum, cookie").body(body).unwrap();
    let stream = authority.connect(secure.address, ("shop.example", &["h2"])).await;
    let (mut sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let mut running = tokio::task::JoinSet::new();
    running.spawn(async move {
        let _ = driver.await;
    });
    let answer = tokio::time::timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    let text = origin.text();
    assert!(text.ends_with("world\r\n0\r\nx-sum: 9\r\n\r\n"), "{text}");
}

#[tokio::test]
async fn an_answers_trailers_reach_a_client_that_takes_them() {
    let tasks = Tasks::new();
    let _stop = Stopping(tasks.clone());
    let origin = Switching::start(&tasks).await;
    let urls = || Urls { monolith: origin.url(), service: origin.url() };
    let authority = Authority::new();
    let (peers, options) = ((&Auth::default(), &Control::default()), authority.options());
    let plain = Gateway::start(urls(), peers, |_| {}).await;
    let sent = "GET /trailers HTTP/1.1\r\nHost: h\r\nConnection: close, TE\r\nTE: trailers\r\n\r\n";
    let answer = raw(plain.address, sent.as_bytes(), "").await.to_lowercase();
    assert!(answer.contains("\r\ntrailer: x-sum\r\n"), "{answer}");
    assert!(answer.ends_with("hello\r\n0\r\nx-sum: 7\r\n\r\n"), "{answer}");
    assert!(origin.heads()[0].contains("\r\nte: trailers\r\n"), "{:?}", origin.heads());
    let without = sent.replace("TE: trailers\r\n", "");
    let answer = raw(plain.address, without.as_bytes(), "").await;
    assert!(answer.ends_with("hello\r\n0\r\n\r\n"), "{answer}");
    let secure = Gateway::start(urls(), peers, |config| config.tls = Some(options)).await;
    let stream = authority.connect(secure.address, ("shop.example", &["h2"])).await;
    let (mut sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let mut running = tokio::task::JoinSet::new();
    running.spawn(async move {
        let _ = driver.await;
    });
    let request = Request::get("https://shop.example/trailers").body(String::new()).unwrap();
    let exchange = async { sender.send_request(request).await.unwrap().into_body().collect().await.unwrap() };
    let body = tokio::time::timeout(PATIENCE, exchange).await.unwrap();
    assert_eq!(
        body.trailers(),
        Some(&HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from(7))]))
    );
    assert_eq!(body.to_bytes(), "hello");
}
