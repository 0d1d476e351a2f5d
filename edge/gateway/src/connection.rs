//! One client's connection: the handshake, HTTP/1.1 or HTTP/2 on it, another protocol behind that, its end.
//!
//! At shutdown a connection that is idle is closed; one that is busy ends behind its last answer.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use banyan_runtime::clock;

use crate::drained::Drained;
use crate::error::Answer;
use crate::framing::HeadLimits;
use crate::guard::{Guard, Verdict};
use crate::headers::Peer;
use crate::http2;
use crate::metrics::HANDSHAKES;
use crate::proxy::{Current, Proxy};
use crate::spawner::Spawner;
use crate::stage::{Stage, Stages};
use crate::stream::{Impatient, Stream};
use crate::tls::HTTP_2;
use crate::tunnel::Slot;

/// How long a connection that shutdown finds just opened may take to send its request.
const FRESH: Duration = Duration::from_millis(100);
/// How long a closed connection is read from, so that its last answer is not cut off by a reset.
const LINGER: Duration = Duration::from_secs(1);
/// And how many bytes.
const LINGER_BYTES: usize = 256 << 10;

/// TLS as a worker uses it.
#[derive(Clone)]
pub struct Tls {
    /// Shakes hands.
    pub acceptor: TlsAcceptor,
    /// How long that may take.
    pub handshake_max: Duration,
}

/// One client's connection.
pub struct Client {
    /// What answers its requests.
    pub current: Arc<Current>,
    /// Whether it is this process that accepts.
    pub stages: Stages,
    /// Who is at its other end.
    pub peer: Peer,
    /// `None` where the connection is in the clear.
    pub tls: Option<Tls>,
    /// Runs the streams of HTTP/2.
    pub streams: Spawner,
}

/// What a connection says of itself while it is served.
pub struct Served {
    /// The end of the gateway.
    pub drained: Drained,
    /// When it was opened.
    pub opened: Instant,
}

impl Served {
    /// The gateway's end has begun, and a connection that was opened then has had its moment.
    pub async fn ends(&self) {
        self.drained.begins().await;
        tokio::time::sleep(FRESH.saturating_sub(self.opened.elapsed())).await;
    }
}

impl Client {
    /// Serves the connection to its end.
    pub async fn serve(self, tcp: TcpStream, drained: Drained) {
        // Without it answers wait for the client's acknowledgements; where it fails, they do.
        let _ = tcp.set_nodelay(true);
        let served = Served { drained, opened: clock::instant() };
        let Some((stream, is_http_2)) = shake_hands(self.tls.as_ref(), tcp).await else { return };
        let stream = Impatient::new(stream, self.current.get().shared.config.body_idle());
        if is_http_2 {
            Box::pin(http2::serve(self, stream, served)).await;
        } else {
            Box::pin(self.serve_http_1(stream, served)).await;
        }
    }

    async fn serve_http_1(self, stream: Impatient<Stream>, served: Served) {
        // Bounds of heads and of idle time stay those with which the connection was opened.
        let opened_with = self.current.get();
        let config = &opened_with.shared.config;
        let limits = HeadLimits { bytes_max: config.head_bytes_max, lines_max: config.headers_max };
        let head_max = Duration::from_millis(config.head_timeout_ms);
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            // The guard bounds heads in time; here it is how long a connection may be idle.
            .header_read_timeout(Duration::from_millis(config.idle_timeout_ms))
            .max_headers(config.headers_max);
        let verdict = Verdict::default();
        let guard = Guard::new(stream, limits, head_max, verdict.clone());
        let slot = Slot::default();
        let tunnels = slot.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let (proxy, peer, refused) = (self.current.get(), self.peer, verdict.take());
            let stages = self.stages.clone();
            let held = verdict.is_held().then(|| verdict.clone());
            if held.is_some() {
                request.extensions_mut().insert(tunnels.clone());
            }
            Box::pin(async move {
                let mut answer = match refused {
                    Some(fault) => Proxy::refuse(fault),
                    None => proxy.handle(peer, request).await,
                };
                if let Some(held) = held
                    && answer.status() != StatusCode::SWITCHING_PROTOCOLS
                {
                    held.release();
                }
                leave_after(&mut answer, &stages);
                Ok::<_, Infallible>(answer)
            })
        });
        let mut connection = builder.serve_connection(TokioIo::new(guard), service);
        let outcome = tokio::select! {
            outcome = poll_fn(|cx| connection.poll_without_shutdown(cx)) => outcome,
            () = served.ends() => {
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                poll_fn(|cx| connection.poll_without_shutdown(cx)).await
            }
        };
        match outcome {
            Ok(()) => {
                let parts = connection.into_parts();
                let (mut stream, early) = parts.io.into_inner().into_parts();
                if let Some(tunnel) = slot.take() {
                    let early = Bytes::from([parts.read_buf, early].concat());
                    tunnel.run(&mut stream, early, &served.drained).await;
                }
                linger(stream).await;
            }
            Err(error) => tracing::debug!(%error, "a client's connection broke"),
        }
    }
}

/// A retired gateway has the client connect anew, to the process that accepts; a connection that changes its
/// protocol stays.
fn leave_after(answer: &mut Answer, stages: &Stages) {
    if stages.now() == Stage::Retired && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// The stream and whether HTTP/2 is spoken on it; `None` where the handshake failed or took too long.
async fn shake_hands(tls: Option<&Tls>, tcp: TcpStream) -> Option<(Stream, bool)> {
    let Some(tls) = tls else { return Some((Stream::Plain(tcp), false)) };
    let outcome = tokio::time::timeout(tls.handshake_max, Box::pin(tls.acceptor.accept(tcp))).await;
    let (label, stream) = match outcome {
        Ok(Ok(stream)) => ("done", Some(stream)),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a handshake failed");
            ("failed", None)
        }
        Err(_) => ("timed_out", None),
    };
    HANDSHAKES.with_label_values(&[label]).inc();
    let stream = stream?;
    let is_http_2 = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
    Some((Stream::Tls(Box::new(stream)), is_http_2))
}

/// Says that nothing more comes, and lets the client finish what it was sending.
pub async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let close = async {
        stream.shutdown().await?;
        let mut space = vec![0; 8 << 10];
        let mut left = LINGER_BYTES;
        while left > 0 {
            match stream.read(&mut space).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        Ok::<_, std::io::Error>(())
    };
    // Whoever goes on sending for longer is cut off.
    let _ = tokio::time::timeout(LINGER, close).await;
}
