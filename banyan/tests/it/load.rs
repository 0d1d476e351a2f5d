//! Clients that go on until they are told to stop, and a client that reads a stream of events.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::world::PATIENCE;

/// The user whose bucket moves.
pub const USER: &str = "7";
/// Every so many requests a client connects anew.
const REQUESTS_PER_CONNECTION: usize = 7;

/// A connection that is kept while the server keeps it.
pub struct Client {
    to: SocketAddr,
    kept: Option<SendRequest<Full<Bytes>>>,
    drivers: JoinSet<()>,
}

impl Client {
    pub fn new(to: SocketAddr) -> Self {
        Self { to, kept: None, drivers: JoinSet::new() }
    }

    async fn sender(&mut self) -> Result<SendRequest<Full<Bytes>>, String> {
        if let Some(mut sender) = self.kept.take()
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        let stream = TcpStream::connect(self.to).await.map_err(|e| format!("connecting: {e}"))?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        self.drivers.spawn(async move {
            let _ = driver.await;
        });
        Ok(sender)
    }

    /// Sends a request of [`USER`]; the answer, whose body has not been read.
    pub async fn send(&mut self, method: &str, path: &str) -> Result<Response<Incoming>, String> {
        let mut sender = self.sender().await?;
        let request = Request::builder().method(method).uri(path).header("host", "shop.example");
        let request = request.header("cookie", format!("shop_session={USER}")).header("x-csrf-token", "t");
        let request = request.body(Full::default()).map_err(|e| e.to_string())?;
        let answer = sender.send_request(request).await.map_err(|e| format!("{method} {path}: {e:?}"))?;
        self.kept = Some(sender);
        Ok(answer)
    }

    /// Sends a request; status and body.
    pub async fn ask(&mut self, method: &str, path: &str) -> Result<(u16, String), String> {
        let exchange = async {
            let answer = self.send(method, path).await?;
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.map_err(|e| format!("{method} {path}: {e:?}"))?;
            Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
        };
        tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| format!("{method} {path}: no answer"))?
    }
}

/// What clients have seen.
#[derive(Default)]
pub struct Seen {
    answered: AtomicUsize,
    writes: AtomicUsize,
    failures: Mutex<Vec<String>>,
    stop: AtomicBool,
}

/// Clients that ask without pause.
pub struct Load {
    pub seen: Arc<Seen>,
    clients: JoinSet<()>,
}

impl Load {
    pub fn start(to: SocketAddr, clients: usize) -> Self {
        let mut load = Self { seen: Arc::default(), clients: JoinSet::new() };
        for _ in 0..clients {
            let seen = load.seen.clone();
            load.clients.spawn(async move { seen.ask_on(to).await });
        }
        load
    }

    /// Stops the clients after their last answers; answered requests, answered writes, failures.
    pub async fn stop(mut self) -> (usize, usize, Vec<String>) {
        self.seen.stop.store(true, SeqCst);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
        let failures = self.seen.failures.lock().unwrap().clone();
        (self.seen.answered(), self.seen.writes.load(SeqCst), failures)
    }
}

impl Seen {
    pub fn answered(&self) -> usize {
        self.answered.load(SeqCst)
    }

    async fn ask_on(&self, to: SocketAddr) {
        let mut client = Client::new(to);
        for number in 0.. {
            if self.stop.load(SeqCst) {
                return;
            }
            if number % REQUESTS_PER_CONNECTION == 0 {
                client = Client::new(to);
            }
            let is_write = number % 2 == 0;
            let (method, path) = if is_write { ("POST", "/api/notifications") } else { ("GET", "/") };
            match client.ask(method, path).await {
                Ok((200, _)) => {
                    self.answered.fetch_add(1, SeqCst);
                    self.writes.fetch_add(usize::from(is_write), SeqCst);
                }
                other => self.failures.lock().unwrap().push(format!("{method} {path}: {other:?}")),
            }
            // The processes need some of the machine, too.
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

/// An open stream of events.
pub struct Events {
    body: Incoming,
    text: String,
    next: u64,
    _client: Client,
}

impl Events {
    pub async fn open(to: SocketAddr) -> Self {
        let mut client = Client::new(to);
        let body = client.send("GET", "/events").await.unwrap().into_body();
        Self { body, text: String::new(), next: 0, _client: client }
    }

    /// Reads on until this many events more have come, each one once and in order; false where the stream has
    /// ended cleanly.
    pub async fn read(&mut self, more: u64) -> bool {
        let until = self.next + more;
        while self.next < until {
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("an event in time");
            let Some(frame) = frame else { return false };
            let data = frame.expect("the stream goes on or ends, and does not break").into_data().unwrap();
            self.text.push_str(&String::from_utf8_lossy(&data));
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                assert_eq!(event, format!("data: {}", self.next));
                self.next += 1;
                self.text = rest.to_owned();
            }
        }
        true
    }
}
