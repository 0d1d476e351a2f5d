//! The gateway beside nginx and HAProxy: the same upstream, the same request, one worker each, kept
//! connections on both sides, access log, request id and limits in all three.
//!
//! The proxies have one processor, everything else has the other; see `bin/bench`. What is compared is CPU
//! time per request: it does not depend on how much of a processor the load generator takes.

mod banyan;
mod peers;

use anyhow::Context as _;
use banyan_testkit::Process;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::load::{Load, Outcome, Pace, Target, play};
use crate::statistics::{median, rounded};
use banyan::Banyan;
use peers::Peer;

/// Enough that a proxy always finds something to do.
const CONNECTIONS: u32 = 32;
/// Fewer proxies' figures would be those of an empty cache.
const WARM_UP: Duration = Duration::from_millis(500);

/// The options.
#[derive(clap::Args)]
pub struct Options {
    /// The release build of banyan.
    #[arg(long)]
    binary: PathBuf,
    /// How often each is measured; an odd number.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// The length of one measurement in seconds.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// The processor of the proxies.
    #[arg(long, default_value_t = 0)]
    processor: u32,
}

/// What is measured in each round, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Nginx,
    Haproxy,
    /// Through the gateway, a path of no capability.
    Plain,
    /// Through the gateway, a path of a moved capability, by the session's bucket.
    Moved,
}

impl Way {
    const ALL: [Self; 4] = [Self::Nginx, Self::Haproxy, Self::Plain, Self::Moved];

    fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Plain => "banyan",
            Self::Moved => "banyan_moved_route",
        }
    }
}

/// One measurement at saturation.
struct Measured {
    cpu_us: f64,
    outcome: Outcome,
}

/// All that runs.
struct Field {
    upstream: Peer,
    nginx: Peer,
    haproxy: Peer,
    banyan: Banyan,
}

/// Runs the benchmark and prints its figures.
///
/// # Errors
/// A program is missing or does not start, or an answer is not 200.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let field = Field::start(folder.path(), options)?;
    let duration = Duration::from_secs_f64(options.seconds);
    for way in Way::ALL {
        field.saturate(way, WARM_UP)?;
    }
    let mut rounds = Vec::new();
    for round in 0..options.rounds {
        let mut measured: Vec<(Way, Measured)> = Vec::new();
        // Each round begins elsewhere, so that none has always the same one before it.
        for index in 0..Way::ALL.len() {
            let way = Way::ALL[(round + index) % Way::ALL.len()];
            measured.push((way, field.saturate(way, duration)?));
        }
        eprintln!("round {}: {}", round + 1, line(&measured));
        rounds.push(measured);
    }
    let rates = rounds.iter().map(|round| of(round, Way::Plain).outcome.rate);
    let half = median(rates) / 2.0;
    let mut added = Vec::new();
    for _ in 0..options.rounds {
        added.push([field.upstream.port, field.banyan.port].map(|port| {
            let load = Load { pace: Pace::Open(half), connections: CONNECTIONS, duration };
            play(&field.target(port, Way::Plain), load)
        }));
    }
    let added = added.into_iter().map(|[direct, through]| Ok((direct?, through?)));
    let added: Vec<(Outcome, Outcome)> = added.collect::<anyhow::Result<_>>()?;
    println!("{}", report(&rounds, (half, &added)));
    Ok(())
}

impl Field {
    fn start(folder: &Path, options: &Options) -> anyhow::Result<Self> {
        let upstream = peers::upstream(folder).context("the upstream")?;
        let nginx = peers::nginx(folder, (upstream.port, options.processor)).context("nginx")?;
        let haproxy = peers::haproxy(folder, (upstream.port, options.processor)).context("HAProxy")?;
        let banyan = Banyan::start(folder, &options.binary, (upstream.port, options.processor))?;
        let field = Self { upstream, nginx, haproxy, banyan };
        let load = Load { pace: Pace::Closed, connections: 1, duration: WARM_UP };
        play(&field.target(field.banyan.port, Way::Moved), load)?;
        field.banyan.check_identity()?;
        Ok(field)
    }

    fn saturate(&self, way: Way, duration: Duration) -> anyhow::Result<Measured> {
        let (process, port) = self.proxy(way);
        let before = process.cpu_ms()?;
        let load = Load { pace: Pace::Closed, connections: CONNECTIONS, duration };
        let outcome = play(&self.target(port, way), load).with_context(|| way.name())?;
        let cpu_ms = process.cpu_ms()? - before;
        Ok(Measured { cpu_us: cpu_ms as f64 * 1000.0 / outcome.answers as f64, outcome })
    }

    fn proxy(&self, way: Way) -> (&Process, u16) {
        match way {
            Way::Nginx => (&self.nginx.process, self.nginx.port),
            Way::Haproxy => (&self.haproxy.process, self.haproxy.port),
            Way::Plain | Way::Moved => (self.banyan.gateway(), self.banyan.port),
        }
    }

    /// The same request to all but for its path, as a browser sends it.
    fn target(&self, port: u16, way: Way) -> Target {
        let path = if way == Way::Moved { "/api/notifications" } else { "/api/products/view" };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: shop.example\r\n\
             User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
             Accept: application/json\r\nAccept-Language: en-US,en;q=0.5\r\n\
             Accept-Encoding: gzip, deflate, br\r\nReferer: http://shop.example/home\r\n\
             Cookie: {}\r\nSec-Fetch-Mode: cors\r\n\r\n",
            self.banyan.cookies
        );
        Target { port, request }
    }
}

fn of(round: &[(Way, Measured)], way: Way) -> &Measured {
    let found = round.iter().find(|(w, _)| *w == way);
    &found.expect("each round measures every way").1
}

fn line(round: &[(Way, Measured)]) -> String {
    let figures = Way::ALL.map(|way| {
        let Measured { cpu_us, outcome } = of(round, way);
        format!("{} {cpu_us:.1} µs of CPU, {:.0}/s", way.name(), outcome.rate)
    });
    figures.join("; ")
}

/// Ratios are taken within each round: what disturbs a round disturbs both of its sides.
fn report(rounds: &[Vec<(Way, Measured)>], (rate, added): (f64, &[(Outcome, Outcome)])) -> serde_json::Value {
    let ratio = |above: Way, below: Way| {
        rounded(median(rounds.iter().map(|round| of(round, above).cpu_us / of(round, below).cpu_us)))
    };
    let over = |way: Way, figure: fn(&Measured) -> f64| {
        rounded(median(rounds.iter().map(|round| figure(of(round, way)))))
    };
    let saturated = Way::ALL.map(|way| {
        let figures = serde_json::json!({
            "cpu_us_per_request": over(way, |m| m.cpu_us),
            "requests_per_cpu_second": over(way, |m| 1e6 / m.cpu_us).round(),
            "requests_per_second": over(way, |m| m.outcome.rate).round(),
            "p50_ms": over(way, |m| m.outcome.latency_ms(0.5)),
            "p99_ms": over(way, |m| m.outcome.latency_ms(0.99)),
        });
        (way.name().to_owned(), figures)
    });
    let at_half = |figure: fn(&(Outcome, Outcome)) -> f64| rounded(median(added.iter().map(figure)));
    serde_json::json!({
        "benchmark": "gateway",
        "rounds": rounds.len(),
        "per_cpu_vs_nginx": ratio(Way::Nginx, Way::Plain),
        "per_cpu_vs_haproxy": ratio(Way::Haproxy, Way::Plain),
        "bucket_routing_cost": ratio(Way::Moved, Way::Plain),
        "added_p99_ms": at_half(|(direct, through)| through.latency_ms(0.99) - direct.latency_ms(0.99)),
        "saturated": serde_json::Map::from_iter(saturated),
        "half_load": {
            "requests_per_second": rate.round(),
            "direct_p50_ms": at_half(|(direct, _)| direct.latency_ms(0.5)),
            "direct_p99_ms": at_half(|(direct, _)| direct.latency_ms(0.99)),
            "banyan_p50_ms": at_half(|(_, through)| through.latency_ms(0.5)),
            "banyan_p99_ms": at_half(|(_, through)| through.latency_ms(0.99)),
        },
    })
}
