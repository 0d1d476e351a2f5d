//! Methods, targets, versions and hosts.

use super::{HIDDEN, Row, line, passed, refused};

pub fn rows() -> Vec<Row> {
    let mut rows = methods_and_versions();
    rows.extend(hosts());
    rows.extend(bad_targets());
    rows.extend(paths_as_they_came());
    rows
}

fn methods_and_versions() -> Vec<Row> {
    vec![
        refused("two spaces in the request line", line("GET  /¤/ HTTP/1.1"), 400),
        refused("a space behind the version", line("GET /¤/ HTTP/1.1 "), 400),
        refused("a tab in the request line", line("GET\t/¤/ HTTP/1.1"), 400),
        refused("a method that is no token", line("G@T /¤/ HTTP/1.1"), 400),
        refused("a method with a colon", line("GET: /¤/ HTTP/1.1"), 400),
        refused("a method with a NUL", line("GET\0 /¤/ HTTP/1.1"), 400),
        refused("a method beyond ASCII", line("G\u{c8}T /¤/ HTTP/1.1"), 400),
        refused("no method", line(" /¤/ HTTP/1.1"), 400),
        refused("HTTP/0.9", format!("GET /¤/\r\n\r\n{HIDDEN}"), 400),
        refused("no version", line("GET /¤/"), 400),
        refused("a version in small letters", line("GET /¤/ http/1.1"), 400),
        refused("a version without a protocol", line("GET /¤/ 1.1"), 400),
        refused("a longer version", line("GET /¤/ HTTP/1.10"), 505),
        refused("HTTP/1.2", line("GET /¤/ HTTP/1.2"), 505),
        refused("HTTP/2.0", line("GET /¤/ HTTP/2.0"), 505),
        refused("HTTP/0.9 written out", line("GET /¤/ HTTP/0.9"), 505),
        refused("HTTP/2 in the clear", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        refused("a tunnel", "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", 405),
        refused("a tunnel to a path", line("CONNECT /¤/ HTTP/1.1"), 405),
        refused("TRACE", format!("TRACE /¤/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n{HIDDEN}"), 405),
        refused(
            "another expectation",
            format!("GET /¤/ HTTP/1.1\r\nHost: h\r\nExpect: x\r\nConnection: close\r\n\r\n{HIDDEN}"),
            417,
        ),
        passed("HTTP/1.0", "GET /¤/old HTTP/1.0\r\n\r\n", &["GET /¤/old"]),
        passed("a method nobody knows", "BREW /¤/pot HTTP/1.1\r\nHost: h\r\n\r\n", &["BREW /¤/pot"]),
    ]
}

fn hosts() -> Vec<Row> {
    let host = |name, lines: &str| refused(name, format!("GET /¤/ HTTP/1.1\r\n{lines}\r\n{HIDDEN}"), 400);
    vec![
        host("no host", ""),
        host("an empty host", "Host:\r\n"),
        host("two hosts", "Host: h\r\nHost: i\r\n"),
        host("two equal hosts", "Host: h\r\nHost: h\r\n"),
        host("a host with a user", "Host: u@h\r\n"),
        host("a host with a path", "Host: h/x\r\n"),
        host("a host with a query", "Host: h?x\r\n"),
        host("a host list", "Host: h, i\r\n"),
        host("a host with a space", "Host: h i\r\n"),
        host("a host with a wild port", "Host: h:80x\r\n"),
        host("a host with a long port", "Host: h:655350\r\n"),
        host("a host with two ports", "Host: h:80:81\r\n"),
        host("a port alone", "Host: :80\r\n"),
        host("an open bracket", "Host: [::1\r\n"),
        refused(
            "another host in the target",
            format!("GET http://i/¤/ HTTP/1.1\r\nHost: h\r\n\r\n{HIDDEN}"),
            400,
        ),
        refused(
            "another port in the target",
            format!("GET http://h:81/¤/ HTTP/1.1\r\nHost: h\r\n\r\n{HIDDEN}"),
            400,
        ),
        refused(
            "a user in the target",
            format!("GET http://u@h/¤/ HTTP/1.1\r\nHost: u@h\r\n\r\n{HIDDEN}"),
            400,
        ),
        passed(
            "the same host in the target",
            "GET http://H/¤/a?b HTTP/1.1\r\nHost: h\r\n\r\n",
            &["GET /¤/a?b"],
        ),
        passed("an IPv6 host", "GET /¤/a HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", &["GET /¤/a"]),
    ]
}

fn bad_targets() -> Vec<Row> {
    vec![
        refused("a space in the target", line("GET /¤/a b HTTP/1.1"), 400),
        refused("a fragment in the target", line("GET /¤/a#b HTTP/1.1"), 400),
        refused("a NUL in the target", line("GET /¤/a\0b HTTP/1.1"), 400),
        refused("a DEL in the target", line("GET /¤/a\x7fb HTTP/1.1"), 400),
        refused("a bare CR in the target", line("GET /¤/a\rb HTTP/1.1"), 400),
        refused("a target without a slash", line("GET ¤/a HTTP/1.1"), 400),
        refused("a target that is a host", line("GET h:80 HTTP/1.1"), 400),
        refused("a star with another method", line("GET * HTTP/1.1"), 400),
        refused("a star and more", line("OPTIONS */¤/ HTTP/1.1"), 400),
        refused("another scheme", line("GET ftp://h/¤/ HTTP/1.1"), 400),
        refused("https in the clear", line("GET https://h/¤/ HTTP/1.1"), 400),
        refused("a scheme without a host", line("GET http:///¤/ HTTP/1.1"), 400),
    ]
}

/// What the owner decides: the path goes on as it came, as one request.
fn paths_as_they_came() -> Vec<Row> {
    let path = |name, sent: &'static str, seen: &'static [&'static str]| {
        passed(name, format!("{sent} HTTP/1.1\r\nHost: h\r\n\r\n"), seen)
    };
    macro_rules! same {
        ($name:literal, $request:literal) => {
            path($name, $request, &[$request])
        };
    }
    vec![
        same!("two slashes", "GET //¤//a"),
        same!("dots", "GET /¤/a/../../b"),
        same!("escaped dots", "GET /¤/%2e%2e/b"),
        same!("an escaped slash", "GET /¤/a%2fb"),
        same!("an escaped NUL", "GET /¤/a%00b"),
        same!("an escaped line break", "GET /¤/a%0d%0aHost:%20x"),
        same!("an escape of an escape", "GET /¤/a%252fb"),
        same!("half an escape", "GET /¤/a%2"),
        same!("a parameter", "GET /¤/a;b=c/d"),
        same!("a backslash", "GET /¤/a\\b"),
        same!("a URL as a path", "GET /¤/http://h/"),
        same!("two question marks", "GET /¤/a?b?c"),
    ]
}
