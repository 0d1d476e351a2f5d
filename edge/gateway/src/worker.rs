//! One worker: a thread with a runtime of its own, its own listener on the shared port (`SO_REUSEPORT`), its
//! own connections. A worker that ends before it is asked to, or panics, stops the process.
//!
//! At shutdown it takes what has been accepted, answers what is in flight, closes idle connections, and waits
//! for exchanges that go on without their client. Connections that go on for longer than `drain_ms_max` are
//! closed; at the supervisor's deadline the worker is dropped as it is.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;

use banyan_runtime::tasks::{OnError, Tasks};
use futures_util::FutureExt as _;

use crate::connection::{Client, Tls};
use crate::drained::Drained;
use crate::headers::Peer;
use crate::metrics::CONNECTIONS;
use crate::proxy::Proxy;
use crate::spawner::Spawner;

/// Connections that wait to be accepted, per worker.
const BACKLOG: u32 = 1024;
/// How long streams may take to say that they end, at the drain deadline.
const CLOSING: Duration = Duration::from_secs(1);
/// How long accepting pauses where the process has no more files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Binds the public port once per worker. All but the first get the port that the first got.
///
/// # Errors
/// The port is taken, also where its owner would share it.
pub fn bind(address: SocketAddr, workers: usize) -> io::Result<Vec<std::net::TcpListener>> {
    // A socket that does not share finds out whether somebody is there.
    drop(socket(address, false)?.listen(1)?);
    let mut listeners = Vec::new();
    let mut at = address;
    for _ in 0..workers {
        let listener = socket(at, true)?.listen(BACKLOG)?;
        at = listener.local_addr()?;
        listeners.push(listener.into_std()?);
    }
    Ok(listeners)
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(shared)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Tells the supervisor how the worker ended.
type Watched = oneshot::Sender<io::Result<()>>;
/// An accepted connection, its peer, its place among the connections.
type Accepted = (TcpStream, SocketAddr, OwnedSemaphorePermit);

/// A worker that has not begun.
pub struct Worker {
    /// Its number, for its thread's name.
    pub number: usize,
    /// What answers its requests.
    pub proxy: Arc<Proxy>,
    /// What goes on without its client.
    pub exchanges: Spawner,
    /// `None` where clients are served in the clear.
    pub tls: Option<Tls>,
    /// Runs the streams of HTTP/2.
    pub streams: Spawner,
    /// The bound on connections, shared by all workers.
    pub connections: Arc<Semaphore>,
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
        listener: std::net::TcpListener,
        tasks: &Tasks,
        ended: impl Send + 'static,
    ) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (outcome, watched) = oneshot::channel();
        let name = format!("gateway-{}", self.number);
        std::thread::Builder::new().name(name.clone()).spawn(move || {
            let outcome = runtime.block_on(self.run(listener, outcome));
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
        listener: std::net::TcpListener,
        mut watched: Watched,
    ) -> Option<(Watched, io::Result<()>)> {
        let outcome = tokio::select! {
            outcome = self.serve(listener) => Some(outcome),
            () = watched.closed() => None,
        };
        outcome.map(|outcome| (watched, outcome))
    }

    async fn serve(&self, listener: std::net::TcpListener) -> io::Result<()> {
        let listener = TcpListener::from_std(listener)?;
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.accept(&listener) => self.open(&mut open, accepted),
                Some(ended) = open.join_next() => report(ended),
                () = self.drained.begins() => break,
            }
        }
        // Whoever has connected already is not turned away.
        while let Some(accepted) = self.accept(&listener).now_or_never() {
            self.open(&mut open, accepted);
        }
        drop(listener);
        tokio::select! {
            () = all(&mut open) => {}
            () = self.deadline() => {
                tracing::warn!(connections = open.len(), "connections are closed at the drain deadline");
                open.shutdown().await;
            }
        }
        self.exchanges.finish().await;
        self.proxy.close();
        Ok(())
    }

    /// What could end by itself at the end of the time for it has done so.
    async fn deadline(&self) {
        self.drained.over().await;
        tokio::time::sleep(CLOSING).await;
    }

    async fn accept(&self, listener: &TcpListener) -> Option<Accepted> {
        let permit = self.connections.clone().acquire_owned().await.ok()?;
        match listener.accept().await {
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
        let trusted = self.proxy.shared.config.trusted_proxies.iter().any(|n| n.contains(address));
        let (proxy, tls) = (self.proxy.clone(), self.tls.clone());
        let peer = Peer { address, trusted, secure: tls.is_some() };
        let client = Client { proxy, peer, tls, streams: self.streams.clone() };
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
