//! A connection that has changed its protocol (RFC 9110 section 7.8), such as a WebSocket: bytes both ways
//! between client and owner, unread, until one side ends it, nothing comes for too long, or the gateway ends.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use banyan_runtime::clock;

use crate::config::Config;
use crate::drained::Drained;
use crate::metrics::{TUNNEL_BYTES, TUNNELS, TUNNELS_ENDED};

/// Bytes read at once.
const READ_BYTES: usize = 16 << 10;

/// The bound on such connections, shared by all workers.
#[derive(Clone, Debug)]
pub struct Places(Arc<Semaphore>);

impl Places {
    /// At most so many.
    pub fn new(config: &Config) -> Self {
        Self(Arc::new(Semaphore::new(config.upgraded_max)))
    }

    /// A place, where one is free.
    pub fn enter(&self) -> Option<Place> {
        let permit = Arc::clone(&self.0).try_acquire_owned().ok()?;
        TUNNELS.inc();
        Some(Place { _permit: permit })
    }
}

/// A place among them, given back when dropped.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        TUNNELS.dec();
    }
}

/// Where a request's connection finds its tunnel, once an upstream has agreed. Goes with the request.
#[derive(Clone, Debug, Default)]
pub struct Slot(Arc<Mutex<Option<Tunnel>>>);

impl Slot {
    /// Leaves the tunnel.
    pub fn set(&self, tunnel: Tunnel) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
    }

    /// Takes the tunnel.
    pub fn take(&self) -> Option<Tunnel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The change that a request asks for. Goes with the request.
#[derive(Clone, Debug)]
pub struct Upgrade {
    token: HeaderValue,
}

impl Upgrade {
    /// What the headers ask for, where it is one of `upgrades`; what is not listed is ignored.
    pub fn of(headers: &HeaderMap, config: &Config) -> Option<Self> {
        let mut values = headers.get_all(header::UPGRADE).iter();
        let (Some(token), None) = (values.next(), values.next()) else { return None };
        let text = token.to_str().ok()?;
        let listed = config.upgrades.iter().any(|upgrade| upgrade.eq_ignore_ascii_case(text));
        listed.then(|| Self { token: token.clone() })
    }

    /// Says in a head what is asked for, or agreed to.
    pub fn tell(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, self.token.clone());
        headers.remove(header::TE);
    }

    /// Whether an upstream's answer agrees to this change and no other.
    pub fn is_agreed_to(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(header::UPGRADE).iter();
        match (values.next(), values.next()) {
            (Some(token), None) => token.as_bytes().eq_ignore_ascii_case(self.token.as_bytes()),
            _ => false,
        }
    }
}

/// The owner's side of a changed connection.
#[derive(Debug)]
pub struct Tunnel {
    /// Its bytes, once hyper has let go of them.
    pub upstream: OnUpgrade,
    /// Its place.
    pub place: Place,
    /// How long nothing may come from either side.
    pub idle_max: Duration,
}

impl Tunnel {
    /// Carries bytes until the end; `early` are those that the client has sent already.
    pub async fn run(self, client: impl AsyncRead + AsyncWrite + Unpin, early: Bytes, drained: &Drained) {
        let Self { upstream, place, idle_max } = self;
        let Ok(upstream) = upstream.await else { return };
        let (client_in, client_out) = tokio::io::split(client);
        let (upstream_in, mut upstream_out) = tokio::io::split(TokioIo::new(upstream));
        let last = Mutex::new(clock::instant());
        let up = async {
            upstream_out.write_all(&early).await?;
            pump(client_in, upstream_out, (&last, "up")).await
        };
        let both = async { tokio::try_join!(up, pump(upstream_in, client_out, (&last, "down"))) };
        let outcome = tokio::select! {
            ended = both => if ended.is_ok() { "closed" } else { "broken" },
            () = idle(&last, idle_max) => "idle",
            () = drained.over() => "drained",
        };
        TUNNELS_ENDED.with_label_values(&[outcome]).inc();
        drop(place);
    }
}

/// Carries bytes one way, and then the end.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    (last, direction): (&Mutex<Instant>, &str),
) -> std::io::Result<()> {
    let carried = TUNNEL_BYTES.with_label_values(&[direction]);
    let mut space = vec![0; READ_BYTES];
    loop {
        let count = from.read(&mut space).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        *last.lock().unwrap_or_else(PoisonError::into_inner) = clock::instant();
        carried.inc_by(count as u64);
        to.write_all(&space[..count]).await?;
        to.flush().await?;
    }
}

async fn idle(last: &Mutex<Instant>, idle_max: Duration) {
    loop {
        let since = last.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        let left = idle_max.saturating_sub(since);
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left).await;
    }
}
