//! Lines and header fields that are not what they seem.

use super::{HIDDEN, Row, passed, post, post_only, refused};

const END: &str = "0\r\n\r\n";

pub fn rows() -> Vec<Row> {
    let mut rows = names_and_values();
    rows.extend(lines());
    rows.extend(sizes());
    rows.extend(sound());
    rows
}

fn names_and_values() -> Vec<Row> {
    let head = |name, headers: &str| refused(name, post(headers, END), 400);
    vec![
        head("a space before the colon", "Transfer-Encoding : chunked\r\n"),
        head("a tab before the colon", "Transfer-Encoding\t: chunked\r\n"),
        head("a space before the name", " Transfer-Encoding: chunked\r\n"),
        head("a space within the name", "Transfer Encoding: chunked\r\n"),
        head("a folded header", "X: a\r\n Transfer-Encoding: chunked\r\n"),
        head("a header folded by a tab", "X: a\r\n\tTransfer-Encoding: chunked\r\n"),
        head("a folded coding", "Transfer-Encoding:\r\n chunked\r\n"),
        head("a folded length", "Content-Length:\r\n 5\r\n"),
        head("a NUL in a value", "X: a\0b\r\n"),
        head("a NUL in a name", "X\0: a\r\n"),
        head("an escape in a value", "X: a\x1bb\r\n"),
        head("a DEL in a value", "X: a\x7fb\r\n"),
        head("a control byte in a name", "X\x01: a\r\n"),
        head("a name beyond ASCII", "Transfer-Encod\u{131}ng: chunked\r\n"),
        head("a name in parentheses", "(X): a\r\n"),
        head("a name with a slash", "X/Y: a\r\n"),
        head("a header without a colon", "X\r\n"),
        head("a header without a name", ": x\r\n"),
        head("a coding in quotes", "\"Transfer-Encoding\": chunked\r\n"),
    ]
}

fn lines() -> Vec<Row> {
    vec![
        refused("a bare LF ends a header", post("X: a\nTransfer-Encoding: chunked\r\n", END), 400),
        refused("a bare CR in a header", post("X: a\rTransfer-Encoding: chunked\r\n", END), 400),
        refused("two CRs end a header", post("X: a\r\r\n", ""), 400),
        refused("a bare CR before the colon", post("Transfer-Encoding\r: chunked\r\n", END), 400),
        refused("a bare LF ends the request line", format!("GET /¤/ HTTP/1.1\nHost: h\r\n\r\n{HIDDEN}"), 400),
        refused("a bare CR ends the request line", format!("GET /¤/ HTTP/1.1\rHost: h\r\n\r\n{HIDDEN}"), 400),
        refused("bare LFs everywhere", "GET /¤/ HTTP/1.1\nHost: h\n\n", 400),
        refused("a bare LF ends the head", format!("GET /¤/ HTTP/1.1\r\nHost: h\r\n\n{HIDDEN}"), 400),
        refused("two empty lines before the request", format!("\r\n\r\n{HIDDEN}"), 400),
        refused("a bare LF before the request", format!("\n{HIDDEN}"), 400),
        refused("a space before the request", format!(" {HIDDEN}"), 400),
        refused("an answer as a request", format!("HTTP/1.1 200 OK\r\n\r\n{HIDDEN}"), 400),
        refused("a TLS handshake", "\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n", 400),
    ]
}

fn sizes() -> Vec<Row> {
    vec![
        refused("a long line", post(&format!("X: {}\r\n", "a".repeat(40 << 10)), ""), 431),
        refused("a long target", format!("GET /¤/{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(40 << 10)), 431),
        refused("many short headers", post(&"X: a\r\n".repeat(101), ""), 431),
        refused("a head without an end", format!("GET /¤/ HTTP/1.1\r\n{}", "X: a\r\n".repeat(6 << 10)), 431),
    ]
}

fn sound() -> Vec<Row> {
    let (get, visible): (_, &[&str]) = ("GET /¤/visible HTTP/1.1\r\nHost: h\r\n", &["GET /¤/visible"]);
    vec![
        passed("one empty line before the request", format!("\r\n{get}\r\n"), visible),
        passed("an empty value", format!("{get}X:\r\n\r\n"), visible),
        passed("a value beyond ASCII", format!("{get}X: \u{e9}\r\n\r\n"), visible),
        passed(
            "headers of one connection only",
            format!("{get}TE: trailers, gzip\r\nKeep-Alive: 5\r\nConnection: te, x\r\nX: a\r\n\r\n"),
            visible,
        ),
        passed("a host that Connection would take away", format!("{get}Connection: host\r\n\r\n"), visible),
        passed(
            "a coding whose name has an underscore is none",
            post_only("Transfer_Encoding: chunked\r\n", ""),
            &["POST /¤/visible"],
        ),
    ]
}
