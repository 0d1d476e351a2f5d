//! Requests of HTTP/2 that would be others as HTTP/1.1.

use banyan_runtime::tasks::Tasks;

use super::{Row, Wanted, check_origin, passed, refused};
use crate::peers::{Auth, Control};
use crate::raw_http2::{DATA, END_STREAM, Outcome, RawHttp2};
use crate::raw_origin::{Closing, RawOrigin};
use crate::secure::Authority;
use crate::world::{Gateway, Stopping, Urls};

/// A row, the fields, the pieces of the body.
struct Converted(Row, Vec<(String, String)>, Option<Vec<&'static str>>);

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "h"), (":path", "/¤/visible")];
const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "https"), (":authority", "h"), (":path", "/¤/visible")];
/// What an attacker hides in a field.
const SMUGGLED: &str = "x\r\nHost: h\r\n\r\nGET /¤/hidden HTTP/1.1\r\nHost: h";

fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

/// A GET with one of its fields changed, or with one more.
fn get(row: Row, name: &str, value: &str) -> Converted {
    let mut fields = owned(&GET);
    match fields.iter_mut().find(|(n, _)| n == name) {
        Some(field) => field.1 = value.into(),
        None => fields.push((name.into(), value.into())),
    }
    Converted(row, fields, None)
}

/// A GET with these fields behind its own.
fn also(row: Row, more: &[(&str, &str)]) -> Converted {
    Converted(row, owned(&[&GET[..], more].concat()), None)
}

fn only(row: Row, fields: &[(&str, &str)]) -> Converted {
    Converted(row, owned(fields), None)
}

/// A POST with these fields and pieces of a body.
fn post(row: Row, more: &[(&str, &str)], pieces: &[&'static str]) -> Converted {
    Converted(row, owned(&[&POST[..], more].concat()), Some(pieces.to_vec()))
}

/// The stream is reset, or the connection ends.
fn reset(name: &'static str) -> Row {
    Row(name, String::new(), Wanted::Cut)
}

fn alone(name: &'static str) -> Row {
    Row(name, String::new(), Wanted::Alone("POST /¤/visible"))
}

fn bad(name: &'static str) -> Row {
    refused(name, "", 400)
}

fn fine(name: &'static str, seen: &'static [&'static str]) -> Row {
    passed(name, "", seen)
}

fn pseudo_fields() -> Vec<Converted> {
    let [method, scheme, authority, path] = GET;
    vec![
        get(reset("a method with a space"), ":method", "GET /¤/hidden HTTP/1.1"),
        get(reset("a method with a line break"), ":method", "GET\r\nX"),
        get(reset("an empty method"), ":method", ""),
        get(reset("a path with a space"), ":path", "/¤/visible HTTP/1.1"),
        get(reset("a path with a line break"), ":path", SMUGGLED),
        get(reset("a path with a bare LF"), ":path", "/¤/a\nX: y"),
        get(reset("a path with a NUL"), ":path", "/¤/a\0b"),
        get(reset("an empty path"), ":path", ""),
        get(reset("a path without a slash"), ":path", "¤/visible"),
        get(reset("a URL for a path"), ":path", "http://i/¤/visible"),
        get(bad("a star with another method"), ":path", "*"),
        get(fine("a fragment is left out", &["GET /¤/a"]), ":path", "/¤/a#b"),
        get(reset("an authority with a line break"), ":authority", "h\r\nX: y"),
        get(reset("an authority with a space"), ":authority", "h i"),
        get(reset("an authority with a path"), ":authority", "h/x"),
        get(bad("an authority with a user"), ":authority", "u@h"),
        get(reset("an authority with a wild port"), ":authority", "h:80x"),
        get(reset("a scheme with a line break"), ":scheme", "https\r\nX: y"),
        get(bad("another scheme"), ":scheme", "ftp"),
        only(reset("no method"), &[scheme, authority, path]),
        only(reset("no path"), &[method, scheme, authority]),
        only(reset("no scheme"), &[method, authority, path]),
        only(bad("no authority and no host"), &[method, scheme, path]),
        only(reset("two methods"), &[method, method, scheme, authority, path]),
        only(reset("two paths"), &[method, scheme, authority, path, path]),
        only(reset("two authorities"), &[method, scheme, authority, authority, path]),
        only(reset("two schemes"), &[method, scheme, scheme, authority, path]),
        only(reset("a field before the pseudo fields"), &[("x", "y"), method, scheme, authority, path]),
        only(reset("a pseudo field behind a field"), &[method, scheme, authority, ("x", "y"), path]),
        also(reset("an unknown pseudo field"), &[(":unknown", "x")]),
        also(reset("a pseudo field of answers"), &[(":status", "200")]),
        only(refused("a tunnel", "", 405), &[(":method", "CONNECT"), (":authority", "h:443")]),
        get(refused("TRACE", "", 405), ":method", "TRACE"),
    ]
}

fn fields() -> Vec<Converted> {
    vec![
        also(bad("another host beside the authority"), &[("host", "i")]),
        also(bad("two hosts beside the authority"), &[("host", "h"), ("host", "h")]),
        also(fine("the same host beside the authority", &["GET /¤/visible"]), &[("host", "h")]),
        also(reset("a coding"), &[("transfer-encoding", "chunked")]),
        also(reset("a connection"), &[("connection", "close")]),
        also(reset("a kept connection"), &[("keep-alive", "5")]),
        also(reset("a proxy's connection"), &[("proxy-connection", "close")]),
        also(reset("an upgrade"), &[("upgrade", "websocket")]),
        also(reset("another TE than trailers"), &[("te", "chunked")]),
        also(fine("TE trailers", &["GET /¤/visible"]), &[("te", "trailers")]),
        also(reset("a name in capitals"), &[("X-A", "b")]),
        also(reset("a name with a colon"), &[("x:y", "b")]),
        also(reset("a name with a space"), &[("x y", "b")]),
        also(reset("a name with a line break"), &[("x\r\ntransfer-encoding", "chunked")]),
        also(reset("an empty name"), &[("", "b")]),
        also(reset("a value with a line break"), &[("x", SMUGGLED)]),
        also(reset("a value with a bare LF"), &[("x", "a\nb")]),
        also(reset("a value with a bare CR"), &[("x", "a\rb")]),
        also(reset("a value with a NUL"), &[("x", "a\0b")]),
        also(refused("another expectation", "", 417), &[("expect", "x")]),
        also(reset("a length without a body"), &[("content-length", "5")]),
        also(fine("a length of zero", &["GET /¤/visible"]), &[("content-length", "0")]),
    ]
}

fn bodies() -> Vec<Converted> {
    let visible: &'static [&'static str] = &["POST /¤/visible"];
    let length =
        |row, length: &str, pieces: &[&'static str]| post(row, &[("content-length", length)], pieces);
    vec![
        length(reset("a length that is too small"), "3", &["hello"]),
        length(reset("a length that is too large"), "9", &["hello"]),
        // The answer may come before the body that should not be there.
        length(alone("a length of zero and a body"), "0", &["GET /¤/hidden HTTP/1.1\r\nHost: h\r\n\r\n"]),
        length(reset("a negative length"), "-5", &["hello"]),
        length(reset("a length that is no number"), "five", &["hello"]),
        length(reset("an overflowing length"), "99999999999999999999", &["hello"]),
        length(reset("a list of lengths"), "5, 5", &["hello"]),
        post(bad("two lengths"), &[("content-length", "5"), ("content-length", "5")], &["hello"]),
        post(
            reset("two lengths that differ"),
            &[("content-length", "5"), ("content-length", "0")],
            &["hello"],
        ),
        post(reset("a coding and a body"), &[("transfer-encoding", "chunked")], &["0\r\n\r\n"]),
        length(fine("a length", visible), "5", &["he", "llo"]),
        post(fine("no length", visible), &[], &["he", "", "llo"]),
        post(fine("an empty body", visible), &[], &[""]),
        post(fine("chunks as a body", visible), &[], &["0\r\n\r\nGET /x/inside HTTP/1.1\r\nHost: h\r\n\r\n"]),
    ]
}

#[tokio::test]
async fn a_request_of_http_2_becomes_one_request_of_http_1_or_none() {
    let (tasks, authority) = (Tasks::new(), Authority::new());
    let origin = RawOrigin::start(Closing::Never, &tasks).await;
    let _stop = Stopping(tasks.clone());
    let urls = Urls { monolith: origin.url(), service: origin.url() };
    let options = authority.options();
    let with_tls = |config: &mut banyan_gateway::Config| config.tls = Some(options);
    let gateway = Gateway::start(urls, (&Auth::default(), &Control::default()), with_tls).await;
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    let table = [pseudo_fields(), fields(), bodies()].into_iter().flatten();
    for (number, Converted(row, fields, pieces)) in table.enumerate() {
        let numbered = |text: &str| text.replace('¤', &number.to_string());
        let fields: Vec<_> = fields.iter().map(|(name, value)| (numbered(name), numbered(value))).collect();
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut client = RawHttp2::open(&authority, gateway.address, &[]).await;
        client.request(1, &fields, if pieces.is_none() { END_STREAM } else { 0 }).await;
        let pieces = pieces.unwrap_or_default();
        for (index, piece) in pieces.iter().enumerate() {
            let flags = if index + 1 == pieces.len() { END_STREAM } else { 0 };
            client.write((DATA, flags, 1), numbered(piece).as_bytes()).await;
        }
        let outcome = client.outcome(1).await;
        let is_wanted = match row.2 {
            Wanted::Refused(status) => outcome == Outcome::Answered(status),
            Wanted::Alone(_) => true,
            Wanted::Passed(_) => outcome == Outcome::Answered(200),
            Wanted::Cut => matches!(outcome, Outcome::Reset | Outcome::Gone | Outcome::Answered(400)),
        };
        if !is_wanted {
            wrong.push(format!("{}: {:?}, not {outcome:?}", row.0, row.2));
        }
        rows.push(row);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    gateway.tasks.stop(std::time::Duration::from_secs(30)).await;
    origin.closed(origin.connections()).await;
    check_origin(&rows, &origin);
}
