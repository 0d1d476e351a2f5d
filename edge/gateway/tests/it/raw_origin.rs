//! An upstream that records bytes as they arrive and answers by hand, to see what really goes over the wire.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use banyan_runtime::tasks::{OnError, Tasks};

/// When a connection is closed by the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// Never.
    Never,
    /// Silently after each answer, as a keep-alive timeout does.
    AfterAnswer,
    /// At the second request, before a byte of its answer.
    AtSecondRequest,
}

/// The upstream.
#[derive(Clone)]
pub struct RawOrigin {
    pub address: SocketAddr,
    /// What has come over each connection.
    bytes: Arc<Mutex<Vec<Vec<u8>>>>,
    connections: watch::Sender<usize>,
    closed: watch::Sender<usize>,
}

impl RawOrigin {
    /// Starts it. Every whole request is answered 200 `ok`.
    pub async fn start(closing: Closing, tasks: &Tasks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = Self {
            address: listener.local_addr().unwrap(),
            bytes: Arc::default(),
            connections: watch::channel(0).0,
            closed: watch::channel(0).0,
        };
        let (accepting, supervisor) = (origin.clone(), tasks.clone());
        tasks.spawn("raw origin", OnError::Log, async move {
            loop {
                let (stream, _) = listener.accept().await?;
                accepting.connections.send_modify(|count| *count += 1);
                let origin = accepting.clone();
                let number = origin.connections() - 1;
                origin.bytes.lock().unwrap().push(Vec::new());
                supervisor.spawn("raw connection", OnError::Log, async move {
                    origin.converse((stream, number), closing).await;
                    origin.closed.send_modify(|count| *count += 1);
                    Ok::<_, std::io::Error>(())
                });
            }
            #[expect(unreachable_code, reason = "tells the type of the error")]
            Ok::<_, std::io::Error>(())
        });
        origin
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All bytes so far, as text, one connection behind the other.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.by_connection().concat()).into_owned()
    }

    /// All bytes so far of each connection.
    pub fn by_connection(&self) -> Vec<Vec<u8>> {
        self.bytes.lock().unwrap().clone()
    }

    /// How many requests have begun.
    pub fn requests(&self) -> usize {
        self.text().matches(" HTTP/1.1\r\n").count()
    }

    /// How many connections have been opened.
    pub fn connections(&self) -> usize {
        *self.connections.borrow()
    }

    /// Waits until so many connections have been closed.
    pub async fn closed(&self, count: usize) {
        let mut closed = self.closed.subscribe();
        let waiting = closed.wait_for(|now| *now >= count);
        tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap().unwrap();
    }

    async fn converse(&self, (mut stream, number): (TcpStream, usize), closing: Closing) {
        let mut pending = Vec::new();
        let mut answered = 0;
        loop {
            let mut space = [0; 4096];
            let count = stream.read(&mut space).await.unwrap_or(0);
            if count == 0 {
                return;
            }
            self.bytes.lock().unwrap()[number].extend_from_slice(&space[..count]);
            pending.extend_from_slice(&space[..count]);
            while let Some(length) = whole(&pending) {
                pending.drain(..length);
                if closing == Closing::AtSecondRequest && answered == 1 {
                    return;
                }
                answered += 1;
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                if stream.write_all(answer).await.is_err() {
                    return;
                }
                if closing == Closing::AfterAnswer {
                    return;
                }
            }
        }
    }
}

/// The length of the first request, where it is whole; bodies have a length or are chunked.
fn whole(bytes: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    let head = text.find("\r\n\r\n")? + 4;
    if text[..head].contains("transfer-encoding: chunked") {
        // Behind the last chunk come trailers, or none.
        let last =
            if text[head..].starts_with("0\r\n") { head } else { text[head..].find("\r\n0\r\n")? + head + 2 };
        return Some(text[last..].find("\r\n\r\n")? + last + 4);
    }
    let length = text[..head]
        .split("content-length: ")
        .nth(1)
        .map_or(0, |rest| rest.split("\r\n").next().unwrap().parse::<usize>().unwrap());
    (bytes.len() >= head + length).then_some(head + length)
}
