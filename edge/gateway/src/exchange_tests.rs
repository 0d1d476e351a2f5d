//! What is certain about a pooled connection is decided by what its socket says, not by when the runtime
//! happened to look at it last.

use super::*;
use crate::config::Config;
use crate::pool::{Authority, PoolLimits};
use http_body_util::BodyExt as _;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};

/// An upstream on a thread of its own. It answers one request per connection, closes when it is told to, and
/// says when it has.
fn closing_upstream() -> (Upstream, Sender<()>, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let ((close, told), (closed, closings)) = (mpsc::channel(), mpsc::channel());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0, "a request arrives on each connection");
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
            if told.recv().is_err() {
                return;
            }
            stream.shutdown(Shutdown::Write).unwrap();
            while !end_has_arrived(&stream) {
                std::thread::yield_now();
            }
            closed.send(()).unwrap();
        }
    });
    let limits = PoolLimits::from(&Config::default());
    let pool = Pool::new(Authority::of_url(&url).unwrap(), limits, Spawner::default());
    (Upstream { pool, answer_max: Duration::from_secs(10) }, close, closings)
}

/// Whether the other side's kernel has acknowledged the end of the stream: state FIN-WAIT-2 (proc_net_tcp(5)).
fn end_has_arrived(stream: &TcpStream) -> bool {
    let port = |address: SocketAddr| format!(":{:04X}", address.port());
    let (own, peer) = (port(stream.local_addr().unwrap()), port(stream.peer_addr().unwrap()));
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).any(|columns| match columns[..] {
        [_, local, remote, state, ..] => local.ends_with(&own) && remote.ends_with(&peer) && state == "05",
        _ => false,
    })
}

#[tokio::test]
async fn a_write_over_a_connection_that_was_just_closed_goes_over_another() {
    let (upstream, close, closings) = closing_upstream();
    for _ in 0..5 {
        let mut request = Request::new(RequestBody::whole("a=b".into()));
        *request.method_mut() = Method::POST;
        request.headers_mut().insert("host", http::HeaderValue::from_static("h"));
        let (answer, connection) = upstream.clone().send(request).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
        connection.give_back();
        let idle = loop {
            tokio::task::yield_now().await;
            if let Some(idle) = upstream.pool.reuse() {
                break idle;
            }
        };
        idle.give_back();
        // From here on the runtime is blocked, and cannot see the end of the connection by itself.
        close.send(()).unwrap();
        closings.recv().unwrap();
    }
}
