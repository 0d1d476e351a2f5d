//! One worker: a thread with a runtime of its own, its own listener on the shared port (`SO_REUSEPORT`), its
//! own connections. A worker that ends before it is asked to, or panics, stops the process. It accepts from when
//! its gateway accepts until that is retired.
//!
//! At shutdown it takes what has been accepted, answers what is in flight, closes idle connections, and waits
//! for exchanges that go on without their client. Connections that go on for longer than `drain_ms_max` are
//! closed; at the supervisor's deadline the worker is dropped as it is.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use banyan_runtime::tasks::{OnError, Tasks};
use futures_util::FutureExt as _;

use crate::bound::{Bound, Permit};
use crate::connection::{Client, Tls};
use crate::drained::Drained;
use crate::headers::Peer;
use crate::listeners::Listeners;
use crate::metrics::CONNECTIONS;
use crate::proxy::Current;
use crate::spawner::Spawner;
use crate::stage::{Stage, Stages};

/// How long streams may take to say that they end, at the drain deadline.
const CLOSING: Duration = Duration::from_secs(1);
/// How long accepting pauses where the process has no more files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
    /// `None` where clients are served in the clear.
    pub tls: Option<Tls>,
    /// Runs the streams of HTTP/2.
    pub streams: Spawner,
    /// The bound on connections, shared by all workers.
    pub connections: Arc<Bound>,
    /// Whether it is this process that accepts.
    pub stages: Stages,
    /// The end of the gateway.
    pub drained: Drained,
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
            () = self.drained.begins() => {}
        }
        while self.stages.now() != Stage::Prepared {
            tokio::select! {
                accepted = self.accept(&listeners) => self.open(&mut open, accepted),
                Some(ended) = open.join_next() => report(ended),
                () = self.stages.reached(Stage::Retired) => break,
                () = self.drained.begins() => break,
            }
        }
        // Whoever has connected already is not turned away; of a retired gateway, the next process takes them.
        while self.stages.now() == Stage::Accepting
            && let Some(accepted) = self.accept(&listeners).now_or_never()
        {
            self.open(&mut open, accepted);
        }
        drop(listeners);
        tokio::select! {
            () = all(&mut open) => {}
            () = self.deadline() => {
                tracing::warn!(connections = open.len(), "connections are closed at the drain deadline");
                open.shutdown().await;
            }
        }
        self.exchanges.finish().await;
        self.current.get().close();
        Ok(())
    }

    /// What could end by itself at the end of the time for it has done so.
    async fn deadline(&self) {
        self.drained.over().await;
        tokio::time::sleep(CLOSING).await;
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
        let trusted = self.current.get().shared.config.trusted_proxies.iter().any(|n| n.contains(address));
        let (current, stages, tls) = (self.current.clone(), self.stages.clone(), self.tls.clone());
        let peer = Peer { address, trusted, secure: tls.is_some() };
        let client = Client { current, stages, peer, tls, streams: self.streams.clone() };
        let drained = self.drained.clone();
        open.spawn(async move {
            let _counted = Counted::new();
            client.serve(stream, drained).await;
            drop(permit);
        });
    }
}

/// A connection as the metrics know it.
struct Counted;

impl Counted {
    fn new() -> Self {
        CONNECTIONS.inc();
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        CONNECTIONS.dec();
    }
}

async fn all(open: &mut JoinSet<()>) {
    while let Some(ended) = open.join_next().await {
        report(ended);
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a client's connection panicked");
    }
}
