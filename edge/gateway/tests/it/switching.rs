//! An upstream that changes the protocol where it is asked to, and answers some paths with trailers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use banyan_runtime::tasks::{OnError, Tasks};

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: TOKEN\r\nSec-WebSocket-Accept: x\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const TRAILED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Content-Length\r\n\r\n\
                       5\r\nhello\r\n0\r\nX-Sum: 7\r\nContent-Length: 9\r\n\r\n";

/// The upstream.
#[derive(Clone)]
pub struct Switching {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Switching {
    /// Starts it. A request that asks for another protocol is answered 101 and its bytes then come back, in
    /// capitals; `/refuse` is answered 200 though, `/other` with another protocol, `/unasked` always with 101.
    pub async fn start(tasks: &Tasks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = Self { address: listener.local_addr().unwrap(), heads: Arc::default() };
        let (accepting, supervisor) = (origin.clone(), tasks.clone());
        tasks.spawn("switching origin", OnError::Log, async move {
            loop {
                let (stream, _) = listener.accept().await?;
                let origin = accepting.clone();
                supervisor.spawn("switching connection", OnError::Log, async move {
                    origin.converse(stream).await;
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

    /// The heads of requests that have come, in small letters.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    async fn converse(&self, mut stream: TcpStream) {
        let (mut pending, mut space) = (Vec::new(), [0; 4096]);
        loop {
            let Some(end) = pending.windows(4).position(|w| w == b"\r\n\r\n") else {
                match stream.read(&mut space).await {
                    Ok(count @ 1..) => pending.extend_from_slice(&space[..count]),
                    _ => return,
                }
                continue;
            };
            let rest = pending.split_off(end + 4);
            let head = String::from_utf8_lossy(&pending).to_lowercase();
            pending = rest;
            self.heads.lock().unwrap().push(head.clone());
            let asks = head.contains("\r\nupgrade: ") || head.starts_with("get /unasked");
            if !asks || head.starts_with("get /refuse") {
                let answer = if head.contains(" /trailers") { TRAILED } else { OK };
                let _ = stream.write_all(answer.as_bytes()).await;
                continue;
            }
            let token = if head.starts_with("get /other") { "other" } else { "websocket" };
            let _ = stream.write_all(SWITCHED.replace("TOKEN", token).as_bytes()).await;
            return shout(stream, pending).await;
        }
    }
}

/// Sends back what comes, in capitals.
async fn shout(mut stream: TcpStream, early: Vec<u8>) {
    let mut space = [0; 4096];
    if stream.write_all(&early.to_ascii_uppercase()).await.is_err() {
        return;
    }
    while let Ok(count @ 1..) = stream.read(&mut space).await {
        if stream.write_all(&space[..count].to_ascii_uppercase()).await.is_err() {
            return;
        }
    }
}
