//! One worker's connections to one upstream.
//!
//! A connection is reused while it is idle for less than `pool_idle_ms` and has carried fewer than
//! `pool_requests_max` requests: both below the bounds at which web servers close a connection by themselves.
//! The newest idle one is taken first, so that those in excess grow old.

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

use banyan_runtime::clock;

use crate::body::RequestBody;
use crate::config::Config;
use crate::spawner::Spawner;

/// The largest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// The most header lines of an answer.
const HEADERS_MAX: usize = 256;

/// `host:port` of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority(Arc<str>);

impl Authority {
    /// Reads a base URL such as `http://127.0.0.1:8000`, without a path.
    ///
    /// # Errors
    /// It is none.
    pub fn of_url(url: &str) -> Result<Self, String> {
        let fault = || format!("`{url}` must be http://HOST:PORT without a path");
        let rest = url.strip_prefix("http://").ok_or_else(fault)?;
        let authority: http::uri::Authority =
            rest.strip_suffix('/').unwrap_or(rest).parse().map_err(|_| fault())?;
        if authority.host().is_empty() || authority.as_str().contains('@') {
            return Err(fault());
        }
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str() == authority.host() => 80,
            None => return Err(fault()),
        };
        Ok(Self(format!("{}:{port}", authority.host()).into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The bounds of a pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    connect_max: Duration,
    idle_max: Duration,
    requests_max: u32,
    connections_max: usize,
}

impl From<&Config> for PoolLimits {
    fn from(config: &Config) -> Self {
        Self {
            connect_max: Duration::from_millis(config.connect_timeout_ms),
            idle_max: Duration::from_millis(config.pool_idle_ms),
            requests_max: config.pool_requests_max,
            connections_max: config.pool_idle_max,
        }
    }
}

/// The pool.
pub struct Pool {
    authority: Authority,
    limits: PoolLimits,
    idle: Mutex<VecDeque<Idle>>,
    drivers: Spawner,
}

struct Idle {
    sender: SendRequest<RequestBody>,
    used: u32,
    since: Instant,
}

/// A connection that carries one request at a time.
pub struct Connection {
    /// hyper's side of it.
    pub sender: SendRequest<RequestBody>,
    used: u32,
    pool: Arc<Pool>,
}

impl Pool {
    /// A pool without connections; `drivers` runs them.
    pub fn new(authority: Authority, limits: PoolLimits, drivers: Spawner) -> Arc<Self> {
        Arc::new(Self { authority, limits, idle: Mutex::default(), drivers })
    }

    /// The upstream.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// An idle connection that looks alive.
    pub fn reuse(self: &Arc<Self>) -> Option<Connection> {
        let now = clock::instant();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        self.drop_old(&mut idle, now);
        // Some may still be busy with the end of their last exchange.
        let at = idle.iter().rposition(|c| c.sender.is_ready())?;
        let Idle { sender, used, .. } = idle.remove(at)?;
        Some(Connection { sender, used, pool: self.clone() })
    }

    /// A new connection.
    ///
    /// # Errors
    /// There is none within `connect_timeout_ms`.
    pub async fn connect(self: &Arc<Self>) -> io::Result<Connection> {
        let stream =
            tokio::time::timeout(self.limits.connect_max, TcpStream::connect(self.authority.as_str()));
        let stream = stream.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        let mut builder = http1::Builder::new();
        builder.max_headers(HEADERS_MAX).max_header_size(HEAD_BYTES_MAX);
        let (sender, driver) = builder.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        self.drivers.spawn(async move {
            // What breaks is told to the request that it breaks.
            let _ = driver.with_upgrades().await;
        });
        Ok(Connection { sender, used: 0, pool: self.clone() })
    }

    /// Closes the idle connections.
    pub fn close(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn drop_old(&self, idle: &mut VecDeque<Idle>, now: Instant) {
        idle.retain(|c| !c.sender.is_closed() && now.duration_since(c.since) < self.limits.idle_max);
    }
}

impl Connection {
    /// Counts one more request; whether the connection has carried one before.
    pub fn count_request(&mut self) -> bool {
        self.used += 1;
        self.used > 1
    }

    /// Returns the connection to its pool: the answer has been received whole.
    pub fn give_back(self) {
        let Self { sender, used, pool } = self;
        if sender.is_closed() || used >= pool.limits.requests_max {
            return;
        }
        let now = clock::instant();
        let mut idle = pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        pool.drop_old(&mut idle, now);
        if idle.len() < pool.limits.connections_max {
            idle.push_back(Idle { sender, used, since: now });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_host_and_a_port() {
        let check = |url: &str| Authority::of_url(url).map(|a| a.as_str().to_owned());
        assert_eq!(check("http://127.0.0.1:8000").as_deref(), Ok("127.0.0.1:8000"));
        assert_eq!(check("http://shop.example/").as_deref(), Ok("shop.example:80"));
        assert_eq!(check("http://[::1]:8000/").as_deref(), Ok("[::1]:8000"));
        for url in ["https://a", "http://", "http://a/b", "http://u@a", "a:80", "http://a:b"] {
            assert!(check(url).unwrap_err().contains(url), "{url}");
        }
    }
}
