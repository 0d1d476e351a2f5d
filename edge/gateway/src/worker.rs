//! One worker: a thread with a runtime of its own, its own listener on the shared port (`SO_REUSEPORT`), its
//! own connections. A worker that ends before it is asked to, or panics, stops the process. It accepts from when
//! its gateway accepts until that is retired.
//!
//! At shutdown it takes what has been accepted, answers what is in flight, closes idle connections, and waits
//! for exchanges that go on without their client; at the supervisor's deadline it is dropped as it is.

use http::StatusCode;
use http::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use banyan_runtime::clock;
use banyan_runtime::tasks::{OnError, Shutdown, Tasks};
use futures_util::FutureExt as _;

use crate::bound::{Bound, Permit};
use crate::error::Answer;
use crate::framing::HeadLimits;
use crate::guard::{Guard, Timeouts, Verdict};
use crate::headers::Peer;
use crate::listeners::Listeners;
use crate::metrics::CONNECTIONS;
use crate::proxy::{Current, Proxy};
use crate::spawner::Spawner;
use crate::stage::{Stage, Stages};

/// How long accepting pauses where the process has no more files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a connection that shutdown finds just opened may take to send its request.
const FRESH: Duration = Duration::from_millis(100);
/// How long a closed connection is read from, so that its last answer is not cut off by a reset.
const LINGER: Duration = Duration::from_secs(1);
/// And how many bytes.
const LINGER_BYTES: usize = 256 << 10;

/// Tells the supervisor how the worker ended.
type Watched = oneshot::Sender<io::Result<()>>;
/// An accepted connection, its peer, its place among the connections.
type Accepted = (TcpStream, SocketAddr, Permit);

/// A worker that has not begun.
pub struct Worker {
    /// Its number, for its thread's name.
    pub number: usize,
    /// What answers its requests.
    pub current: Arc<Current>,
    /// What goes on without its client.
    pub exchanges: Spawner,
    /// The bound on connections, shared by all workers.
    pub connections: Arc<Bound>,
    /// Whether it is this process that accepts.
    pub stages: Stages,
    /// The request to end.
    pub shutdown: Shutdown,
}

impl Worker {
    /// Starts the thread, supervised. `ended` is dropped when the worker has ended.
    ///
    /// # Errors
    /// There is no thread or no runtime.
    pub fn start(
        self,
        listeners: Vec<std::net::TcpListener>,
        tasks: &Tasks,
        ended: impl Send + 'static,
    ) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (outcome, watched) = oneshot::channel();
        let name = format!("gateway-{}", self.number);
        std::thread::Builder::new().name(name.clone()).spawn(move || {
            let outcome = runtime.block_on(self.run(listeners, outcome));
            drop(runtime);
            if let Some((outcome, result)) = outcome {
                // A supervisor that has stopped waiting needs no result.
                let _ = outcome.send(result);
            }
        })?;
        tasks.spawn("gateway worker", OnError::StopProcess, async move {
            let _ended = ended;
            match watched.await {
                Ok(result) => result.map_err(|error| format!("{name}: {error}")),
                Err(_) => Err(format!("{name} has died")),
            }
        });
        Ok(())
    }

    /// Serves until shutdown has been carried out; `None` where the supervisor has given up waiting.
    async fn run(
        &self,
        listeners: Vec<std::net::TcpListener>,
        mut watched: Watched,
    ) -> Option<(Watched, io::Result<()>)> {
        let outcome = tokio::select! {
            outcome = self.serve(listeners) => Some(outcome),
            () = watched.closed() => None,
        };
        outcome.map(|outcome| (watched, outcome))
    }

    async fn serve(&self, listeners: Vec<std::net::TcpListener>) -> io::Result<()> {
        let listeners = Listeners::new(listeners)?;
        let mut open = JoinSet::new();
        tokio::select! {
            () = self.stages.reached(Stage::Accepting) => {}
            () = self.shutdown.requested() => {}
        }
        while self.stages.now() != Stage::Prepared {
            tokio::select! {
                accepted = self.accept(&listeners) => self.open(&mut open, accepted),
                Some(ended) = open.join_next() => report(ended),
                () = self.stages.reached(Stage::Retired) => break,
                () = self.shutdown.requested() => break,
            }
        }
        // Whoever has connected already is not turned away; of a retired gateway, the next process takes them.
        while self.stages.now() == Stage::Accepting
            && let Some(accepted) = self.accept(&listeners).now_or_never()
        {
            self.open(&mut open, accepted);
        }
        drop(listeners);
        while let Some(ended) = open.join_next().await {
            report(ended);
        }
        self.exchanges.finish().await;
        self.current.get().close();
        Ok(())
    }

    async fn accept(&self, listeners: &Listeners) -> Option<Accepted> {
        let permit = self.connections.enter().await;
        match listeners.accept().await {
            Ok((stream, peer)) => Some((stream, peer, permit)),
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    }

    fn open(&self, open: &mut JoinSet<()>, accepted: Option<Accepted>) {
        let Some((stream, address, permit)) = accepted else { return };
        let address = address.ip();
        let proxy = self.current.get();
        let trusted = proxy.shared.config.trusted_proxies.iter().any(|n| n.contains(address));
        let (current, stages) = (self.current.clone(), self.stages.clone());
        let client = Client { current, stages, peer: Peer { address, trusted } };
        let shutdown = self.shutdown.clone();
        open.spawn(async move {
            CONNECTIONS.inc();
            client.serve(stream, shutdown).await;
            CONNECTIONS.dec();
            drop(permit);
        });
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a client's connection panicked");
        CONNECTIONS.dec();
    }
}

/// One client's connection.
struct Client {
    current: Arc<Current>,
    stages: Stages,
    peer: Peer,
}

impl Client {
    async fn serve(self, stream: TcpStream, shutdown: Shutdown) {
        // Without it answers wait for the client's acknowledgements; where it fails, they do.
        let _ = stream.set_nodelay(true);
        // Bounds of heads and of idle time stay those with which the connection was opened.
        let opened_with = self.current.get();
        let config = &opened_with.shared.config;
        let limits = HeadLimits { bytes_max: config.head_bytes_max, lines_max: config.headers_max };
        let timeouts =
            Timeouts { head: Duration::from_millis(config.head_timeout_ms), write: config.body_idle() };
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            // The guard bounds heads in time; here it is how long a connection may be idle.
            .header_read_timeout(Duration::from_millis(config.idle_timeout_ms))
            .max_headers(config.headers_max);
        let (verdict, opened) = (Verdict::default(), clock::instant());
        let guard = Guard::new(stream, limits, timeouts, verdict.clone());
        let service = service_fn(move |request| {
            let (proxy, peer, refused) = (self.current.get(), self.peer, verdict.take());
            let stages = self.stages.clone();
            Box::pin(async move {
                let mut answer = match refused {
                    Some(fault) => Proxy::refuse(fault),
                    None => proxy.handle(peer, request).await,
                };
                leave_after(&mut answer, &stages);
                Ok::<_, Infallible>(answer)
            })
        });
        let mut connection = builder.serve_connection(TokioIo::new(guard), service);
        let served = tokio::select! {
            served = poll_fn(|cx| connection.poll_without_shutdown(cx)) => served,
            () = ends(&shutdown, opened) => {
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                poll_fn(|cx| connection.poll_without_shutdown(cx)).await
            }
        };
        match served {
            Ok(()) => linger(connection.into_parts().io.into_inner().into_inner()).await,
            Err(error) => tracing::debug!(%error, "a client's connection broke"),
        }
    }
}

/// A retired gateway has the client connect anew, to the process that accepts; an upgraded connection stays.
fn leave_after(answer: &mut Answer, stages: &Stages) {
    if stages.now() == Stage::Retired && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Shutdown has been requested, and a connection that was opened then has had its moment.
async fn ends(shutdown: &Shutdown, opened: std::time::Instant) {
    shutdown.requested().await;
    tokio::time::sleep(FRESH.saturating_sub(opened.elapsed())).await;
}

/// Says that nothing more comes, and lets the client finish what it was sending.
async fn linger(mut stream: TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let discard = async {
        let mut space = vec![0; 8 << 10];
        let mut left = LINGER_BYTES;
        while let Ok(count @ 1..) = stream.read(&mut space).await {
            left = left.saturating_sub(count);
            if left == 0 {
                return;
            }
        }
    };
    // Whoever goes on sending for longer is cut off.
    let _ = tokio::time::timeout(LINGER, discard).await;
}
