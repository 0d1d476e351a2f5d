//! A client: whole requests over hyper, or bytes as they are.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The status as a number.
    pub fn code(&self) -> u16 {
        self.status.as_u16()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The status and the code of a problem of a role.
    pub fn problem_code(&self) -> (u16, String) {
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        (self.code(), problem["code"].as_str().unwrap().to_owned())
    }

    /// The code of a problem of Banyan's.
    pub fn problem(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        if self.code() == 503 {
            assert!(self.headers.contains_key("retry-after"), "{self:?}");
        }
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["status"], self.code());
        problem["code"].as_str().unwrap().to_owned()
    }
}

/// A request that is being made.
#[derive(Clone, Debug)]
pub struct Ask {
    method: Method,
    target: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Ask {
    /// A request without a body.
    pub fn new(method: &str, target: &str) -> Self {
        let method = method.parse().unwrap();
        Self { method, target: target.into(), headers: Vec::new(), body: Bytes::new() }
    }

    /// A request of a user's session.
    pub fn of_user(method: &str, target: &str, user: &str) -> Self {
        Self::new(method, target).header("cookie", &format!("shop_session={user}"))
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds the token against forgery.
    pub fn csrf(self) -> Self {
        self.header("x-csrf-token", "good")
    }

    /// Sets a form as the body.
    pub fn form(mut self, body: &str) -> Self {
        self.body = Bytes::copy_from_slice(body.as_bytes());
        self.header("content-type", "application/x-www-form-urlencoded")
    }

    /// Sets a body.
    pub fn body(mut self, kind: &str, body: &str) -> Self {
        self.body = Bytes::copy_from_slice(body.as_bytes());
        self.header("content-type", kind)
    }

    /// Sends it over a connection of its own.
    pub async fn send(self, to: SocketAddr) -> Answer {
        let mut connection = Connection::open(to).await;
        connection.send(self).await
    }

    /// Sends it in a task of its own.
    pub fn start(self, to: SocketAddr) -> JoinHandle<Answer> {
        #[expect(clippy::disallowed_methods, reason = "a test's own task, awaited or aborted by the test")]
        tokio::spawn(self.send(to))
    }

    /// Sends it over a connection of its own and reads until this has come; dropping the connection leaves.
    pub async fn begin(self, to: SocketAddr, until: &str) -> TcpStream {
        let mut text = format!("{} {} HTTP/1.1\r\nHost: shop.example\r\n", self.method, self.target);
        self.headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(format!("{text}\r\n").as_bytes()).await.unwrap();
        let mut read = String::new();
        let mut space = [0; 4096];
        while !read.contains(until) {
            let count = tokio::time::timeout(PATIENCE, stream.read(&mut space)).await.unwrap().unwrap();
            assert!(count > 0, "{read}");
            read.push_str(&String::from_utf8_lossy(&space[..count]));
        }
        stream
    }

    fn request(self) -> Request<Full<Bytes>> {
        self.header("host", "shop.example").request_to("")
    }

    /// The request with its target behind this scheme and host.
    pub fn request_to(self, host: &str) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(self.method).uri(format!("{host}{}", self.target));
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(self.body)).unwrap()
    }
}

/// A kept connection.
pub struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    _driver: tokio::task::JoinSet<()>,
}

impl Connection {
    /// Connects.
    pub async fn open(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut running = tokio::task::JoinSet::new();
        running.spawn(async move {
            let _ = driver.await;
        });
        Self { sender, _driver: running }
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&mut self, ask: Ask) -> Answer {
        let exchange = async {
            self.sender.ready().await.unwrap();
            let (head, body) = self.sender.send_request(ask.request()).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Answer { status: head.status, headers: head.headers, body }
        };
        tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time")
    }
}

/// Sends bytes and reads all that comes until the other side closes, or, where it keeps the connection, until
/// `until` has come.
pub async fn raw(to: SocketAddr, bytes: &[u8], until: &str) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(to).await.unwrap();
        // The other side may refuse before it has read all.
        let _ = stream.write_all(bytes).await;
        let mut text = String::new();
        let mut space = [0; 4096];
        while until.is_empty() || !text.contains(until) {
            match stream.read(&mut space).await {
                Ok(count @ 1..) => text.push_str(&String::from_utf8_lossy(&space[..count])),
                _ => break,
            }
        }
        text
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time")
}
