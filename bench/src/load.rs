//! A load of one request, repeated over kept connections, each with a thread that blocks.
//!
//! At a given rate each request has an intended time, whether or not the one before has been answered; its
//! latency counts from there, so that a stall is seen by all requests that it delays (no coordinated
//! omission). Without a rate a connection sends when it has been answered: that finds the saturation.

use anyhow::{Context as _, bail};
use banyan_runtime::clock;
use hdrhistogram::Histogram;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// An answer with its body fits.
const ANSWER_BYTES_MAX: usize = 16 << 10;
const LATENCY_US_MAX: u64 = 60_000_000;

/// What is asked, where.
#[derive(Clone, Debug)]
pub struct Target {
    /// The port at 127.0.0.1.
    pub port: u16,
    /// The whole request.
    pub request: String,
}

/// When requests are sent.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// As soon as the connection's last one is answered.
    Closed,
    /// So many a second over all connections, evenly.
    Open(f64),
}

/// How long, over how many connections.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// When requests are sent.
    pub pace: Pace,
    /// The connections.
    pub connections: u32,
    /// The duration.
    pub duration: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Answers, all of them 200.
    pub answers: u64,
    /// Answers a second.
    pub rate: f64,
    latencies_us: Histogram<u64>,
}

impl Outcome {
    /// The latency that this share of the answers keeps, in milliseconds.
    pub fn latency_ms(&self, quantile: f64) -> f64 {
        self.latencies_us.value_at_quantile(quantile) as f64 / 1000.0
    }
}

/// Plays the load; each connection sends once at least.
///
/// # Errors
/// A connection breaks, or an answer is not 200.
pub fn play(target: &Target, load: Load) -> anyhow::Result<Outcome> {
    let begin = clock::instant();
    let end = begin + load.duration;
    let outcomes: Vec<anyhow::Result<Histogram<u64>>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..load.connections)
            .map(|number| scope.spawn(move || converse(target, schedule(load, number, begin), end)))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a connection's thread panicked")).collect()
    });
    let mut latencies_us = histogram()?;
    for outcome in outcomes {
        latencies_us.add(outcome?)?;
    }
    let answers = latencies_us.len();
    Ok(Outcome { answers, rate: answers as f64 / begin.elapsed().as_secs_f64(), latencies_us })
}

fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)?)
}

/// A connection's first intended time and the time between two; `None` where it goes by the answers.
#[derive(Clone, Copy)]
struct Schedule(Option<(Instant, Duration)>);

fn schedule(load: Load, number: u32, begin: Instant) -> Schedule {
    match load.pace {
        Pace::Closed => Schedule(None),
        Pace::Open(rate) => {
            let gap = Duration::from_secs_f64(f64::from(load.connections) / rate);
            Schedule(Some((begin + gap * number / load.connections, gap)))
        }
    }
}

/// One connection from its opening to the end.
fn converse(target: &Target, schedule: Schedule, end: Instant) -> anyhow::Result<Histogram<u64>> {
    let mut connection = Connection::open(target.port)?;
    let mut latencies_us = histogram()?;
    let mut next = schedule.0.map(|(first, _)| first);
    loop {
        if let Some(intended) = next {
            thread::sleep(intended.saturating_duration_since(clock::instant()));
        }
        let intended = next.unwrap_or_else(clock::instant);
        connection.exchange(target.request.as_bytes())?;
        let latency_us = u64::try_from(intended.elapsed().as_micros())?;
        latencies_us.saturating_record(latency_us);
        next = schedule.0.map(|(_, gap)| intended + gap);
        if next.unwrap_or_else(clock::instant) >= end {
            return Ok(latencies_us);
        }
        if clock::instant() > end + ANSWER_MAX {
            bail!("the answers come so late that the load cannot be played");
        }
    }
}

struct Connection {
    stream: TcpStream,
    space: Vec<u8>,
}

impl Connection {
    fn open(port: u16) -> anyhow::Result<Self> {
        let stream =
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).with_context(|| format!("port {port}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        Ok(Self { stream, space: vec![0; ANSWER_BYTES_MAX] })
    }

    /// Sends the request and reads the whole answer, which must be a 200 with a length.
    fn exchange(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(request)?;
        let (mut filled, mut wanted) = (0, None);
        while wanted.is_none_or(|wanted| filled < wanted) {
            let count = self.stream.read(&mut self.space[filled..]).context("no answer")?;
            if count == 0 {
                bail!("the connection ended within an answer: {}", text(&self.space[..filled]));
            }
            filled += count;
            wanted = wanted.map_or_else(|| answer_length(&self.space[..filled]), |known| Ok(Some(known)))?;
        }
        Ok(())
    }
}

/// The length of the answer that begins here, head and body; `None` where its head is not complete.
fn answer_length(bytes: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(head_length) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(None) };
    let head = text(&bytes[..head_length]);
    if !head.starts_with("HTTP/1.1 200 ") {
        bail!("an answer is not 200: {head}");
    }
    let lengths = head.lines().filter_map(|line| line.split_once(':'));
    let length = lengths.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let (_, length) = length.with_context(|| format!("an answer has no length: {head}"))?;
    Ok(Some(head_length + 4 + length.trim().parse::<usize>()?))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Answers each of so many connections until it ends; one of the answers comes late.
    fn serve(connections: usize, stall: Duration) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming().take(connections) {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let (mut space, mut count) = ([0; 1024], 0);
                    while stream.read(&mut space).is_ok_and(|length| length > 0) {
                        count += 1;
                        if count == 2 {
                            thread::sleep(stall);
                        }
                        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc";
                        if stream.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        port
    }

    fn target(port: u16) -> Target {
        Target { port, request: "GET / HTTP/1.1\r\nhost: a\r\n\r\n".into() }
    }

    #[test]
    fn a_stall_is_seen_by_every_request_that_it_delays() {
        let stall = Duration::from_millis(500);
        let target = target(serve(1, stall));
        let duration = Duration::from_millis(1000);
        let load = Load { pace: Pace::Open(100.0), connections: 1, duration };
        let outcome = play(&target, load).unwrap();
        assert_eq!(outcome.answers, 100, "every intended request was sent");
        let above = outcome.latency_ms(0.75);
        assert!(above > 150.0, "a quarter waited for more than {above} ms");
    }

    #[test]
    fn an_answer_is_read_whole_or_refused() {
        assert_eq!(answer_length(b"HTTP/1.1 200 OK\r\nContent-Le").unwrap(), None);
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01";
        assert_eq!(answer_length(answer).unwrap(), Some(answer.len() + 8));
        for refused in ["HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\na: b\r\n\r\n"] {
            answer_length(refused.as_bytes()).unwrap_err();
        }
    }

    #[test]
    fn a_closed_load_counts_what_was_answered() {
        let load = Load { pace: Pace::Closed, connections: 2, duration: Duration::from_millis(200) };
        let outcome = play(&target(serve(2, Duration::ZERO)), load).unwrap();
        assert!(outcome.answers > 0 && outcome.rate > 0.0 && outcome.latency_ms(1.0) > 0.0);
    }
}
