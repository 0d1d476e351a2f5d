//! What reaches an upstream and what reaches a client.

use super::*;

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        })
        .collect()
}

fn names(headers: &HeaderMap) -> Vec<String> {
    let mut names: Vec<String> = headers.keys().map(|n| n.as_str().to_owned()).collect();
    names.sort();
    names
}

fn peer(trusted: bool) -> Peer {
    Peer { address: "192.0.2.7".parse().unwrap(), trusted, secure: false }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).map(|v| v.to_str().unwrap())
}

#[test]
fn what_ends_at_the_gateway_goes_no_further() {
    let mut headers = map(&[
        ("host", "shop"),
        ("connection", "close, X-Secret, Host, content-length"),
        ("x-secret", "1"),
        ("content-length", "3"),
        ("keep-alive", "timeout=5"),
        ("te", "gzip"),
        ("trailer", "content-length, x_sum"),
        ("upgrade", "websocket"),
        ("expect", "100-continue"),
        ("accept", "*/*"),
    ]);
    arrive(&mut headers, peer(true));
    assert_eq!(names(&headers), ["accept", "content-length", "host"]);
}

#[test]
fn that_trailers_come_or_are_taken_is_said_anew() {
    let mut headers = map(&[
        ("connection", "te, close"),
        ("te", "gzip, Trailers"),
        ("trailer", "X-Sum, Content-Length, x_sum, Cookie"),
        ("trailer", "banyan-subject, x-more"),
    ]);
    arrive(&mut headers, peer(true));
    assert_eq!(names(&headers), ["connection", "te", "trailer"]);
    assert_eq!((text(&headers, "connection"), text(&headers, "te")), (Some("te"), Some("trailers")));
    assert_eq!(text(&headers, "trailer"), Some("x-sum, x-more"));
}

#[test]
fn what_a_client_may_not_say_is_dropped() {
    let lines = [
        ("banyan-identity", "x"),
        ("Banyan-Role-Token", "x"),
        ("banyan_subject", "x"),
        ("x_http_method_override", "DELETE"),
        ("x-original-url", "/admin"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-prefix", "/x"),
        ("forwarded", "for=1.2.3.4"),
        ("x-real-ip", "1.2.3.4"),
        ("x-request-id", "r-1"),
        ("accept", "*/*"),
    ];
    let (mut from_client, mut from_proxy) = (map(&lines), map(&lines));
    arrive(&mut from_client, peer(false));
    assert_eq!(names(&from_client), ["accept"]);
    arrive(&mut from_proxy, peer(true));
    let kept = ["accept", "forwarded", "x-forwarded-for", "x-forwarded-prefix", "x-real-ip", "x-request-id"];
    assert_eq!(names(&from_proxy), kept);
}

#[test]
fn the_upstream_learns_where_a_request_comes_from() {
    let trace = Trace::of(None);
    let mut headers = map(&[("host", "shop.example:8080"), ("tracestate", "a=1")]);
    forward(&mut headers, peer(false), &trace, "id-1");
    assert_eq!(text(&headers, "x-forwarded-for"), Some("192.0.2.7"));
    assert_eq!(text(&headers, "x-forwarded-proto"), Some("http"));
    assert_eq!(text(&headers, "x-forwarded-host"), Some("shop.example:8080"));
    assert_eq!(text(&headers, "forwarded"), Some("for=192.0.2.7;host=\"shop.example:8080\";proto=http"));
    assert_eq!(text(&headers, "host"), Some("shop.example:8080"));
    assert_eq!(text(&headers, "traceparent"), Some(trace.parent.as_str()));
    assert_eq!((text(&headers, "tracestate"), text(&headers, "x-request-id")), (None, Some("id-1")));
}

#[test]
fn what_a_trusted_proxy_says_is_continued() {
    let given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut headers = map(&[
        ("host", "shop"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-for", "5.6.7.8"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "public.example"),
        ("forwarded", "for=1.2.3.4"),
        ("x-request-id", "r-1"),
        ("traceparent", given),
        ("tracestate", "a=1"),
    ]);
    let trace = trace(&headers);
    let id = request_id(&headers, &trace);
    forward(
        &mut headers,
        Peer { address: "::1".parse().unwrap(), trusted: true, secure: false },
        &trace,
        &id,
    );
    assert_eq!(text(&headers, "x-forwarded-for"), Some("1.2.3.4, 5.6.7.8, ::1"));
    assert_eq!(text(&headers, "x-forwarded-proto"), Some("https"));
    assert_eq!(text(&headers, "x-forwarded-host"), Some("public.example"));
    assert_eq!(text(&headers, "forwarded"), Some("for=1.2.3.4, for=\"[::1]\";host=\"shop\";proto=http"));
    assert_eq!((text(&headers, "tracestate"), id.as_str()), (Some("a=1"), "r-1"));
    assert!(trace.continued && text(&headers, "traceparent").unwrap().contains(&given[3..35]));
}

#[test]
fn banyans_own_headers_do_not_reach_a_client() {
    let mut headers =
        map(&[("banyan-position", "7"), ("connection", "x-hop"), ("x-hop", "1"), ("set-cookie", "a=b")]);
    leave(&mut headers);
    assert_eq!(names(&headers), ["set-cookie"]);
}

#[test]
fn cookies_of_several_headers_are_one_list() {
    assert_eq!(cookies(&map(&[("cookie", "a=1"), ("cookie", "b=2")])).as_deref(), Some("a=1; b=2"));
    assert_eq!(cookies(&map(&[])), None);
}
