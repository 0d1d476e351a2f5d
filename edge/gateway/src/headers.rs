//! Headers on their way in and out: what ends at the gateway, what is added, what a client may not say.

use banyan_core::protocol::RESERVED_HEADER_PREFIX;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use crate::trace::Trace;

const FORWARDED: HeaderName = header::FORWARDED;
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Headers that concern one connection only (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Headers that a `Connection` header may not take away: the request would become another one.
const KEPT: [HeaderName; 3] = [header::HOST, header::CONTENT_LENGTH, header::CONTENT_TYPE];

/// Fields that count only in a head: as trailers they would change how a message is read, whom it is for or
/// who sends it (RFC 9110 section 6.5.1). Those of one connection, of proxies and of Banyan itself count too.
const NEVER_TRAILERS: [HeaderName; 19] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::WWW_AUTHENTICATE,
    header::COOKIE,
    header::SET_COOKIE,
    header::EXPECT,
    header::RANGE,
    header::MAX_FORWARDS,
    header::CACHE_CONTROL,
    header::AGE,
    header::LOCATION,
    header::RETRY_AFTER,
    header::VARY,
    header::IF_MATCH,
];

/// Headers by which only a proxy says where a request comes from.
const OF_PROXIES: [&str; 4] = ["forwarded", "x-real-ip", "x-request-id", "true-client-ip"];

/// Headers that make some servers take another path than the request's.
const REWRITING: [&str; 2] = ["x-original-url", "x-rewrite-url"];

/// Who is at the other end of a client's connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Whether it is one of `trusted_proxies`.
    pub trusted: bool,
    /// Whether its connection is encrypted.
    pub secure: bool,
}

/// Takes away what ends at the gateway and what a client may not say, before anything is decided by headers.
///
/// Names with an underscore are dropped, as nginx does: behind CGI they cannot be told from those with a dash.
pub fn arrive(headers: &mut HeaderMap, peer: Peer) {
    remove_hop_by_hop(headers);
    headers.remove(header::EXPECT);
    let unwanted: Vec<HeaderName> =
        headers.keys().filter(|n| is_unwanted(n.as_str(), peer)).cloned().collect();
    for name in unwanted {
        headers.remove(name);
    }
}

fn is_unwanted(name: &str, peer: Peer) -> bool {
    let of_proxies = || name.starts_with("x-forwarded-") || OF_PROXIES.contains(&name);
    name.starts_with(RESERVED_HEADER_PREFIX)
        || name.contains('_')
        || REWRITING.contains(&name)
        || (!peer.trusted && of_proxies())
}

/// Takes away from an upstream's answer what concerns our connection to it, and what is Banyan's own.
pub fn leave(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    let own = |name: &&HeaderName| name.as_str().starts_with(RESERVED_HEADER_PREFIX);
    let own: Vec<HeaderName> = headers.keys().filter(own).cloned().collect();
    for name in own {
        headers.remove(name);
    }
}

/// Takes away from trailers what must not come in them.
pub fn trail(trailers: &mut HeaderMap) {
    let unwanted: Vec<HeaderName> = trailers.keys().filter(|name| !may_trail(name)).cloned().collect();
    for name in unwanted {
        trailers.remove(name);
    }
}

fn may_trail(name: &HeaderName) -> bool {
    let nobody = Peer { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), trusted: false, secure: false };
    !NEVER_TRAILERS.contains(name) && !HOP_BY_HOP.contains(name) && !is_unwanted(name.as_str(), nobody)
}

/// Takes away what concerns one connection only. That trailers come, and that they are taken, is said anew for
/// the next one.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let announced: Vec<HeaderName> = elements(headers, &header::TRAILER)
        .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
        .filter(may_trail)
        .collect();
    let takes_trailers = elements(headers, &header::TE).any(|te| te.eq_ignore_ascii_case("trailers"));
    let nominated: Vec<HeaderName> = elements(headers, &header::CONNECTION)
        .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
        .filter(|name| !KEPT.contains(name))
        .collect();
    for name in nominated.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    if !announced.is_empty() {
        let names: Vec<&str> = announced.iter().map(HeaderName::as_str).collect();
        set(headers, header::TRAILER, &names.join(", "));
    }
    if takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
}

/// The elements of a header that is a list.
fn elements<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// Says where the request comes from (RFC 7239 and the older `X-Forwarded-*`) and which trace and request it
/// is. What a trusted proxy has said stays, with our peer appended.
pub fn forward(headers: &mut HeaderMap, peer: Peer, trace: &Trace, request_id: &str) {
    let address = peer.address.to_canonical();
    let host = headers.get(header::HOST).cloned();
    append(headers, X_FORWARDED_FOR, &address.to_string());
    if !headers.contains_key(X_FORWARDED_PROTO) {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme(peer)));
    }
    if let Some(host) = &host
        && !headers.contains_key(X_FORWARDED_HOST)
    {
        headers.insert(X_FORWARDED_HOST, host.clone());
    }
    let host = host.as_ref().and_then(|h| h.to_str().ok());
    append(headers, FORWARDED, &forwarded(address, host, scheme(peer)));
    if !trace.continued {
        headers.remove(TRACESTATE);
    }
    set(headers, TRACEPARENT, &trace.parent);
    set(headers, X_REQUEST_ID, request_id);
}

fn scheme(peer: Peer) -> &'static str {
    if peer.secure { "https" } else { "http" }
}

fn forwarded(address: IpAddr, host: Option<&str>, scheme: &str) -> String {
    let mut text = match address {
        IpAddr::V4(address) => format!("for={address}"),
        IpAddr::V6(address) => format!("for=\"[{address}]\""),
    };
    if let Some(host) = host {
        // Writing to a string cannot fail.
        let _ = write!(text, ";host=\"{host}\"");
    }
    text.push_str(";proto=");
    text.push_str(scheme);
    text
}

fn append(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    let before: Vec<&str> = headers.get_all(&name).iter().filter_map(|v| v.to_str().ok()).collect();
    let all = if before.is_empty() { value.to_owned() } else { format!("{}, {value}", before.join(", ")) };
    set(headers, name, &all);
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The trace that the request belongs to.
pub fn trace(headers: &HeaderMap) -> Trace {
    let mut values = headers.get_all(TRACEPARENT).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Trace::of(value.to_str().ok()),
        _ => Trace::of(None),
    }
}

/// The id of the request: a trusted proxy's, where it is plain, else the trace's.
pub fn request_id(headers: &HeaderMap, trace: &Trace) -> String {
    let plain = |id: &&str| {
        (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    let given = headers.get(X_REQUEST_ID).and_then(|v| v.to_str().ok()).filter(plain);
    given.unwrap_or(&trace.id).to_owned()
}

/// The request's cookies, its `Cookie` headers joined; `None` where there is none.
pub fn cookies(headers: &HeaderMap) -> Option<String> {
    let all: Vec<&str> = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok()).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;
