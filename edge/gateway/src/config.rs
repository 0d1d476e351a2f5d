//! The options of `[gateway]`. An option that cannot work fails the start and names itself.

use banyan_core::pattern::PathPattern;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::network::Network;

/// The options of the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Threads that serve clients, each with its own runtime and connections; 0 means one per core; 0 to 256.
    pub workers: usize,
    /// Open connections of clients, over all workers; more wait to be accepted; 1 to 1000000.
    pub connections_max: usize,
    /// Networks whose `Forwarded`, `X-Forwarded-*` and `X-Request-Id` are believed, such as `10.0.0.0/8`.
    pub trusted_proxies: Vec<Network>,
    /// One log line per request, target `access`.
    pub access_log: bool,

    /// TLS towards clients (`[gateway.tls]`); without it they are served in the clear, over HTTP/1.1.
    pub tls: Option<TlsConfig>,
    /// Requests at the same time on one connection of HTTP/2; 1 to 10000.
    pub http2_streams_max: u32,
    /// Requests that a client of HTTP/2 may give up beyond those that it finishes, before its connection is
    /// closed; 1 to 1000000.
    pub http2_resets_max: u32,

    /// The head of a request, in bytes; 1024 to 1048576.
    pub head_bytes_max: usize,
    /// The header lines of a request; 1 to 1000.
    pub headers_max: usize,
    /// From a head's first byte to its last, in milliseconds; 10 to 600000.
    pub head_timeout_ms: u64,
    /// How long a client's connection may be idle between requests, in milliseconds; 10 to 3600000.
    pub idle_timeout_ms: u64,
    /// The body of a request, in bytes; from 0.
    pub body_bytes_max: u64,
    /// How long a body may make no progress, in either direction, in milliseconds; 10 to 3600000.
    pub body_idle_timeout_ms: u64,
    /// The body of a write of a capability in which fields are looked for, in bytes; a longer one is answered
    /// 413; 1024 to 16777216.
    pub body_inspect_bytes_max: usize,

    /// Protocols that a connection may change to (`Upgrade`), in small letters; what is not listed is ignored.
    pub upgrades: Vec<String>,
    /// Connections that have changed their protocol, over all workers; 0 to 1000000.
    pub upgraded_max: usize,
    /// How long such a connection, or an answer that is a stream of events, may be silent, in milliseconds; 10
    /// to 86400000.
    pub stream_idle_timeout_ms: u64,
    /// How long readiness is refused at shutdown before new connections are, in milliseconds: as long as those
    /// who ask for it need to notice; 0 to 600000.
    pub drain_notice_ms: u64,
    /// How long what is in flight may go on after that, in milliseconds; 0 to 3600000.
    pub drain_ms_max: u64,

    /// Connecting to the monolith or a service, in milliseconds; 10 to 60000.
    pub connect_timeout_ms: u64,
    /// From a request's last byte to the head of the monolith's answer, in milliseconds; 10 to 3600000.
    pub monolith_timeout_ms: u64,
    /// The same for services; 10 to 3600000.
    pub service_timeout_ms: u64,
    /// How long a connection may wait in a pool, in milliseconds. Must be shorter than the keep-alive timeout
    /// of the monolith's web server (nginx: 75 s), which else closes it under a request; 10 to 600000.
    pub pool_idle_ms: u64,
    /// Requests sent over one connection. Must be below the web server's own bound (nginx: 1000); 1 to
    /// 1000000.
    pub pool_requests_max: u32,
    /// Idle connections kept per worker and upstream; 0 to 10000.
    pub pool_idle_max: usize,

    /// Requests in flight towards the monolith that belong to no group; 1 to 1000000.
    pub in_flight_max: usize,
    /// How long a request may wait for a place in its group before it gets 503, in milliseconds; 0 to 60000.
    pub group_queue_ms_max: u64,
    /// Route groups with bounds of their own.
    pub groups: Vec<GroupConfig>,

    /// How long auth may take to say who a request is, in milliseconds; 10 to 60000.
    pub identity_timeout_ms: u64,
    /// Identities kept per worker, each at most a second; 0 to 1000000.
    pub identities_max: usize,

    /// With `dual_write = "wait"`: how long an answer waits until the monolith's database has committed the
    /// write, in milliseconds; 10 to 60000.
    pub dual_write_ms_max: u64,

    /// How long a write of a moving bucket is held, in milliseconds; 1 to 600000.
    pub hold_ms_max: u64,
    /// Writes held at the same time; 0 to 1000000.
    pub hold_requests_max: usize,
    /// Bytes of bodies held at the same time; from 0.
    pub hold_bytes_max: usize,

    /// How long the process that is to replace this one may take until it can route, in milliseconds; past it
    /// this one goes on; 100 to 600000.
    pub upgrade_ms_max: u64,
}

/// A route group (`[[gateway.groups]]`): routes that share a bound, so that a slow one cannot take every
/// worker of the monolith.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupConfig {
    /// Its name in logs and metrics: lower-case letters, digits, `-` or `_`.
    pub name: String,
    /// Path patterns; the most specific of all groups wins.
    pub paths: Vec<PathPattern>,
    /// Methods in capitals, such as those that call a slow third party; empty means all.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Requests in flight towards the monolith; 1 to 1000000.
    pub in_flight_max: usize,
}

/// TLS towards clients: certificate chains and keys in PEM files, which are read anew when they change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate, and those between it and the root; also for clients that ask for no known name.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// More of them (`[[gateway.tls.more]]`), for the names that they hold.
    #[serde(default)]
    pub more: Vec<CertificateFiles>,
    /// How long a handshake may take, in milliseconds; 10 to 600000.
    #[serde(default = "handshake_timeout_ms")]
    pub handshake_timeout_ms: u64,
    /// How often the files are looked at, in milliseconds; 10 to 3600000.
    #[serde(default = "watch_ms")]
    pub watch_ms: u64,
}

/// One more certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// The certificate, and those between it and the root.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

fn handshake_timeout_ms() -> u64 {
    10_000
}

fn watch_ms() -> u64 {
    5_000
}

impl Default for Config {
    fn default() -> Self {
        Self {
            workers: 0,
            connections_max: 10_000,
            trusted_proxies: Vec::new(),
            access_log: true,
            tls: None,
            http2_streams_max: 100,
            http2_resets_max: 200,
            head_bytes_max: 32 << 10,
            headers_max: 100,
            head_timeout_ms: 10_000,
            idle_timeout_ms: 75_000,
            body_bytes_max: 64 << 20,
            body_idle_timeout_ms: 30_000,
            body_inspect_bytes_max: 256 << 10,
            upgrades: vec!["websocket".into()],
            upgraded_max: 1_000,
            stream_idle_timeout_ms: 300_000,
            drain_notice_ms: 0,
            drain_ms_max: 15_000,
            connect_timeout_ms: 2_000,
            monolith_timeout_ms: 60_000,
            service_timeout_ms: 10_000,
            pool_idle_ms: 15_000,
            pool_requests_max: 900,
            pool_idle_max: 64,
            in_flight_max: 256,
            group_queue_ms_max: 1_000,
            groups: Vec::new(),
            identity_timeout_ms: 2_500,
            identities_max: 4_096,
            dual_write_ms_max: 2_000,
            hold_ms_max: 10_000,
            hold_requests_max: 1_000,
            hold_bytes_max: 16 << 20,
            upgrade_ms_max: 30_000,
        }
    }
}

/// The name of the group of everything that belongs to no other.
pub const REST: &str = "rest";

impl Config {
    /// Checks what types alone cannot.
    ///
    /// # Errors
    /// The first fault: the key, its value and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        let count = |key: &str, value: usize, least: usize, most: usize| {
            within(key, value as u64, least as u64..=most as u64)
        };
        count("workers", self.workers, 0, 256)?;
        count("connections_max", self.connections_max, 1, 1_000_000)?;
        within("http2_streams_max", self.http2_streams_max.into(), 1..=10_000)?;
        within("http2_resets_max", self.http2_resets_max.into(), 1..=1_000_000)?;
        if let Some(tls) = &self.tls {
            within("tls.handshake_timeout_ms", tls.handshake_timeout_ms, 10..=600_000)?;
            within("tls.watch_ms", tls.watch_ms, 10..=3_600_000)?;
        }
        count("head_bytes_max", self.head_bytes_max, 1024, 1 << 20)?;
        count("headers_max", self.headers_max, 1, 1000)?;
        within("head_timeout_ms", self.head_timeout_ms, 10..=600_000)?;
        within("dual_write_ms_max", self.dual_write_ms_max, 10..=60_000)?;
        within("idle_timeout_ms", self.idle_timeout_ms, 10..=3_600_000)?;
        within("body_idle_timeout_ms", self.body_idle_timeout_ms, 10..=3_600_000)?;
        count("body_inspect_bytes_max", self.body_inspect_bytes_max, 1024, 16 << 20)?;
        count("upgraded_max", self.upgraded_max, 0, 1_000_000)?;
        within("stream_idle_timeout_ms", self.stream_idle_timeout_ms, 10..=86_400_000)?;
        within("drain_notice_ms", self.drain_notice_ms, 0..=600_000)?;
        within("drain_ms_max", self.drain_ms_max, 0..=3_600_000)?;
        self.check_upgrades()?;
        within("connect_timeout_ms", self.connect_timeout_ms, 10..=60_000)?;
        within("monolith_timeout_ms", self.monolith_timeout_ms, 10..=3_600_000)?;
        within("service_timeout_ms", self.service_timeout_ms, 10..=3_600_000)?;
        within("pool_idle_ms", self.pool_idle_ms, 10..=600_000)?;
        within("pool_requests_max", self.pool_requests_max.into(), 1..=1_000_000)?;
        count("pool_idle_max", self.pool_idle_max, 0, 10_000)?;
        count("in_flight_max", self.in_flight_max, 1, 1_000_000)?;
        within("identity_timeout_ms", self.identity_timeout_ms, 10..=60_000)?;
        count("identities_max", self.identities_max, 0, 1_000_000)?;
        within("hold_ms_max", self.hold_ms_max, 1..=600_000)?;
        count("hold_requests_max", self.hold_requests_max, 0, 1_000_000)?;
        within("group_queue_ms_max", self.group_queue_ms_max, 0..=60_000)?;
        within("upgrade_ms_max", self.upgrade_ms_max, 100..=600_000)?;
        self.check_groups()
    }

    fn check_upgrades(&self) -> Result<(), String> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_./".contains(&b);
        // Another version of HTTP behind the gateway's back would not be checked.
        let is_http =
            |token: &str| token.starts_with("h2") || token.starts_with("http") || token.starts_with("tls");
        match self.upgrades.iter().find(|t| t.is_empty() || !t.bytes().all(plain) || is_http(t)) {
            Some(token) => {
                Err(format!("`upgrades` `{token}` must be a protocol in small letters, and not HTTP or TLS"))
            }
            None => Ok(()),
        }
    }

    fn check_groups(&self) -> Result<(), String> {
        let mut names = BTreeSet::from([REST]);
        for group in &self.groups {
            let name = group.name.as_str();
            let plain =
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b));
            if name.is_empty() || !plain {
                return Err(format!("`groups.name` `{name}` must be lower-case letters, digits, `-` or `_`"));
            }
            if !names.insert(name) {
                return Err(format!("`groups.name` `{name}` must be unique and not `{REST}`"));
            }
            if group.paths.is_empty() {
                return Err(format!("`groups.paths` of `{name}` must have a pattern"));
            }
            if let Some(method) = group.methods.iter().find(|m| !m.bytes().all(|b| b.is_ascii_uppercase())) {
                return Err(format!("`groups.methods` of `{name}`: `{method}` must be in capitals"));
            }
            within(&format!("groups.in_flight_max of {name}"), group.in_flight_max as u64, 1..=1_000_000)?;
        }
        Ok(())
    }

    /// These options, with those of the running gateway that cannot change while it runs.
    #[must_use]
    pub fn fixed(self, running: &Self) -> Self {
        Self {
            workers: running.workers,
            tls: running.tls.clone(),
            upgraded_max: running.upgraded_max,
            drain_notice_ms: running.drain_notice_ms,
            drain_ms_max: running.drain_ms_max,
            ..self
        }
    }

    /// The number of worker threads.
    pub fn worker_count(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        }
    }

    /// How long a connection of another protocol, or a stream of events, may be silent.
    pub fn stream_idle(&self) -> Duration {
        Duration::from_millis(self.stream_idle_timeout_ms)
    }

    /// How long a body may make no progress.
    pub fn body_idle(&self) -> Duration {
        Duration::from_millis(self.body_idle_timeout_ms)
    }
}

fn within(key: &str, value: u64, allowed: std::ops::RangeInclusive<u64>) -> Result<(), String> {
    if allowed.contains(&value) {
        Ok(())
    } else {
        Err(format!("`{key}` {value} must be {} to {}", allowed.start(), allowed.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Config)) -> Result<(), String> {
        let mut config = Config::default();
        change(&mut config);
        config.check()
    }

    fn group(name: &str, paths: &[&str], in_flight_max: usize) -> GroupConfig {
        let paths = paths.iter().map(|p| p.parse().unwrap()).collect();
        GroupConfig { name: name.into(), paths, methods: Vec::new(), in_flight_max }
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(check(|_| {}), Ok(()));
        assert!(Config::default().worker_count() >= 1);
    }

    #[test]
    fn a_value_that_cannot_work_is_named() {
        type Change = fn(&mut Config);
        let table: [(&str, Change); 12] = [
            ("`upgrades` `h2c`", |c| c.upgrades = vec!["h2c".into()]),
            ("`http2_streams_max` 0", |c| c.http2_streams_max = 0),
            ("`head_bytes_max` 10", |c| c.head_bytes_max = 10),
            ("`pool_requests_max` 0", |c| c.pool_requests_max = 0),
            ("`hold_ms_max` 0", |c| c.hold_ms_max = 0),
            ("`monolith_timeout_ms` 0", |c| c.monolith_timeout_ms = 0),
            ("`in_flight_max` 0", |c| c.in_flight_max = 0),
            ("`groups.name` `Pay`", |c| c.groups = vec![group("Pay", &["/p"], 1)]),
            ("`groups.name` `rest`", |c| c.groups = vec![group("rest", &["/p"], 1)]),
            ("`groups.name` `a`", |c| c.groups = vec![group("a", &["/p"], 1), group("a", &["/q"], 1)]),
            ("`groups.paths` of `a`", |c| c.groups = vec![group("a", &[], 1)]),
            ("in_flight_max of a` 0", |c| c.groups = vec![group("a", &["/p"], 0)]),
        ];
        for (named, change) in table {
            let fault = check(change).unwrap_err();
            assert!(fault.contains(named), "{named}: {fault}");
        }
    }

    #[test]
    fn the_file_that_init_writes_is_understood() {
        let text = r#"
            trusted_proxies = ["10.0.0.0/8", "::1"]
            [[groups]]
            name = "payments"
            paths = ["/payments/*", "/api/payments/*"]
            in_flight_max = 4
        "#;
        let config: Config = toml::from_str(text).unwrap();
        assert_eq!((config.check(), config.groups[0].paths.len()), (Ok(()), 2));
        assert!(toml::from_str::<Config>("speed = 3").unwrap_err().to_string().contains("speed"));
        assert!(
            toml::from_str::<Config>("trusted_proxies = ['ten']").unwrap_err().to_string().contains("ten")
        );
    }
}
