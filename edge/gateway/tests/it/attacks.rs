//! Requests that readers could read differently, hundreds of bytes each, before an upstream that records what
//! it gets. Each row says what the client is answered and which requests the upstream saw: never two where
//! the client sent one, never one that it should not have seen.

mod chunks;
mod converted;
mod heads;
mod lengths;
mod targets;

use banyan_runtime::tasks::Tasks;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::PATIENCE;
use crate::peers::{Auth, Control};
use crate::raw_origin::{Closing, RawOrigin};
use crate::world::{Gateway, Stopping, Urls};

/// A second request that an attacker hides in the first. `¤` stands for the number of the row.
const HIDDEN: &str = "GET /¤/hidden HTTP/1.1\r\nHost: h\r\n\r\n";

/// Fields that a trailer section must not have, since a reader might go by them.
const FORBIDDEN_TRAILERS: [&str; 4] = ["content-length:", "transfer-encoding:", "host:", "banyan-"];

/// What becomes of a request.
#[derive(Clone, Debug)]
enum Wanted {
    /// This status, a closed connection, and nothing upstream.
    Refused(u16),
    /// 400 or a closed connection, and at most the beginning of a request upstream.
    Cut,
    /// Whatever it is answered, this request or nothing upstream.
    Alone(&'static str),
    /// 200 for each of these requests, which are what the upstream sees.
    Passed(&'static [&'static str]),
}

/// A name, what the client sends, what becomes of it.
struct Row(&'static str, String, Wanted);

fn refused(name: &'static str, sent: impl Into<String>, status: u16) -> Row {
    Row(name, sent.into(), Wanted::Refused(status))
}

fn passed(name: &'static str, sent: impl Into<String>, seen: &'static [&'static str]) -> Row {
    Row(name, sent.into(), Wanted::Passed(seen))
}

/// A POST with these header lines and this body, and the hidden request behind it.
fn post(headers: &str, body: &str) -> String {
    format!("{}{HIDDEN}", post_only(headers, body))
}

/// A POST with these header lines and this body.
fn post_only(headers: &str, body: &str) -> String {
    format!("POST /¤/visible HTTP/1.1\r\nHost: h\r\n{headers}\r\n{body}")
}

/// A request with this first line, and the hidden one behind it.
fn line(line: &str) -> String {
    format!("{line}\r\nHost: h\r\n\r\n{HIDDEN}")
}

#[tokio::test]
async fn an_upstream_never_sees_another_request_than_the_client_sent() {
    let tasks = Tasks::new();
    let origin = RawOrigin::start(Closing::Never, &tasks).await;
    let _stop = Stopping(tasks.clone());
    let urls = Urls { monolith: origin.url(), service: origin.url() };
    let gateway = Gateway::start(urls, (&Auth::default(), &Control::default()), |_| {}).await;
    let rows: Vec<Row> = [lengths::rows(), heads::rows(), targets::rows(), chunks::rows()]
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(number, Row(name, sent, wanted))| Row(name, sent.replace('¤', &number.to_string()), wanted))
        .collect();
    assert!(rows.len() >= 100, "{} rows", rows.len());
    for Row(name, sent, wanted) in &rows {
        let answers = answers(gateway.address, sent.as_bytes(), wanted).await;
        match wanted {
            Wanted::Refused(status) => assert_eq!(answers, [*status], "{name}"),
            Wanted::Cut => assert!(answers.is_empty() || answers == [400], "{name}: {answers:?}"),
            Wanted::Alone(_) => {}
            Wanted::Passed(seen) => assert_eq!(answers, vec![200; seen.len()], "{name}"),
        }
    }
    // What is on its way arrives before the connections end, and nothing comes after that.
    gateway.tasks.stop(Duration::from_secs(30)).await;
    origin.closed(origin.connections()).await;
    check_origin(&rows, &origin);
}

/// Compares what has arrived with what the rows say.
fn check_origin(rows: &[Row], origin: &RawOrigin) {
    let (mut whole, mut begun) = (Vec::new(), Vec::new());
    for bytes in origin.by_connection() {
        let mut rest = bytes.as_slice();
        while let Some((request, length)) = first_request(rest) {
            whole.push(request);
            rest = &rest[length..];
        }
        begun.push(String::from_utf8_lossy(rest).into_owned());
    }
    for (number, Row(name, _, wanted)) in rows.iter().enumerate() {
        let prefix = format!("/{number}/");
        let seen: Vec<&str> = whole.iter().filter(|r| r.contains(&prefix)).map(String::as_str).collect();
        let numbered = |request: &str| request.replace('¤', &number.to_string());
        let wanted: Vec<String> = match wanted {
            Wanted::Passed(seen) => seen.iter().map(|request| numbered(request)).collect(),
            Wanted::Alone(request) if !seen.is_empty() => vec![numbered(request)],
            Wanted::Refused(_) | Wanted::Cut | Wanted::Alone(_) => Vec::new(),
        };
        assert_eq!(seen, wanted, "{name}");
        let may_begin = matches!(rows[number].2, Wanted::Cut | Wanted::Alone(_));
        let began = begun.iter().any(|text| text.contains(&prefix));
        assert!(may_begin || !began, "{name}: {begun:?}");
    }
    assert!(!whole.iter().chain(&begun).any(|text| text.contains("hidden")), "{whole:?} {begun:?}");
}

/// The first request of these bytes, as method and target, and its length; `None` where it is not whole. What
/// is not written in the one form that the gateway has for it fails the test.
fn first_request(bytes: &[u8]) -> Option<(String, usize)> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end - 4]).into_owned();
    let (first, lines) = head.split_once("\r\n").expect("a host at least");
    let request = first.strip_suffix(" HTTP/1.1").expect("every request is HTTP/1.1").to_owned();
    assert_eq!(request.matches(' ').count(), 1, "{first:?}");
    let mut lengths: Vec<&str> = Vec::new();
    let mut hosts = 0;
    let mut chunked = false;
    for line in lines.split("\r\n") {
        let (name, value) = line.split_once(": ").expect("a colon and a space");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{line:?}");
        assert!(!line.contains(['\r', '\n', '\0']), "{line:?}");
        match name {
            "content-length" => lengths.push(value),
            "transfer-encoding" => {
                assert_eq!((value, chunked), ("chunked", false), "{head}");
                chunked = true;
            }
            "host" => hosts += 1,
            "connection" if value == "te" => {}
            "te" if value == "trailers" => {}
            "connection" | "te" | "upgrade" | "expect" | "keep-alive" => panic!("{line:?} has passed"),
            _ => {}
        }
    }
    assert!(hosts == 1 && lengths.len() + usize::from(chunked) <= 1, "{head}");
    let body = &bytes[end..];
    let length =
        if chunked { chunked_length(body)? } else { lengths.first().map_or(0, |l| l.parse().unwrap()) };
    (body.len() >= length).then_some((request, end + length))
}

fn chunked_length(body: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = body[at..].windows(2).position(|w| w == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&body[at..at + line]).unwrap(), 16).unwrap();
        at += line + 2;
        if size == 0 {
            let trailers = &body[at..];
            if trailers.starts_with(b"\r\n") {
                return Some(at + 2);
            }
            let end = trailers.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
            let text = String::from_utf8_lossy(&trailers[..end]).to_lowercase();
            assert!(!FORBIDDEN_TRAILERS.iter().any(|name| text.contains(name)), "{text:?}");
            return Some(at + end);
        }
        at += size + 2;
        if at > body.len() {
            return None;
        }
    }
}

/// The statuses of the answers, until there are as many as wanted and, behind a refusal, the connection ends.
async fn answers(to: SocketAddr, sent: &[u8], wanted: &Wanted) -> Vec<u16> {
    let enough = if let Wanted::Passed(seen) = wanted { seen.len() } else { usize::MAX };
    let exchange = async {
        let mut stream = TcpStream::connect(to).await.unwrap();
        // The other side may refuse before it has read all.
        let _ = stream.write_all(sent).await;
        let (mut text, mut space) = (String::new(), [0; 4096]);
        loop {
            let statuses = statuses(&text);
            if statuses.len() >= enough {
                return statuses;
            }
            match stream.read(&mut space).await {
                Ok(count @ 1..) => text.push_str(&String::from_utf8_lossy(&space[..count])),
                _ => return statuses,
            }
        }
    };
    tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(|_| {
        panic!("no end of the answers to {:?}", String::from_utf8_lossy(sent));
    })
}

fn statuses(mut text: &str) -> Vec<u16> {
    let mut found = Vec::new();
    while let Some((head, rest)) = text.split_once("\r\n\r\n") {
        let lower = head.to_ascii_lowercase();
        let length = lower
            .split("content-length: ")
            .nth(1)
            .map_or(0, |l| l.split("\r\n").next().unwrap().parse().unwrap());
        let Some(next) = rest.get(length..) else { break };
        found.push(head.strip_prefix("HTTP/1.").expect("an answer").get(2..5).unwrap().parse().unwrap());
        text = next;
    }
    found
}
