//! Chunked bodies that are not framed as they should be.

use super::{HIDDEN, Row, Wanted, passed, post_only};

pub fn rows() -> Vec<Row> {
    let mut rows = cut();
    rows.extend(sound());
    rows
}

fn chunked(body: &str) -> String {
    post_only("Transfer-Encoding: chunked\r\n", body)
}

fn cut() -> Vec<Row> {
    let huge = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(20 << 10));
    let trailers = format!("5\r\nhello\r\n0\r\n{}\r\n", "X: aaaaaaaaaaaa\r\n".repeat(1 << 10));
    let table = [
        ("a chunk longer than its size", "5\r\nhelloX\r\n0\r\n\r\n"),
        ("a chunk shorter than its size", "6\r\nhello\r\n0\r\n\r\n"),
        ("a bare LF behind a size", "5\nhello\r\n0\r\n\r\n"),
        ("a bare CR behind a size", "5\rhello\r\n0\r\n\r\n"),
        ("a bare LF behind data", "5\r\nhello\n0\r\n\r\n"),
        ("a bare CR behind data", "5\r\nhello\r0\r\n\r\n"),
        ("nothing behind data", "5\r\nhello0\r\n\r\n"),
        ("a bare LF in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
        ("a bare CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ("a NUL in an extension", "5;a\0b\r\nhello\r\n0\r\n\r\n"),
        ("a huge extension", &huge),
        ("a space behind a size", "5 \r\nhello\r\n0\r\n\r\n"),
        ("a space before a size", " 5\r\nhello\r\n0\r\n\r\n"),
        ("a prefix of a hexadecimal size", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("a signed size", "+5\r\nhello\r\n0\r\n\r\n"),
        ("a negative size", "-5\r\nhello\r\n0\r\n\r\n"),
        ("a size with an underscore", "0_5\r\nhello\r\n0\r\n\r\n"),
        ("a size of no digits", ";a\r\nhello\r\n0\r\n\r\n"),
        ("a size in letters", "five\r\nhello\r\n0\r\n\r\n"),
        ("an overflowing size", "ffffffffffffffff5\r\nhello\r\n0\r\n\r\n"),
        ("a size of 2^64", "10000000000000000\r\nhello\r\n0\r\n\r\n"),
        ("an empty line for a size", "\r\n5\r\nhello\r\n0\r\n\r\n"),
        ("a space before a trailer's colon", "5\r\nhello\r\n0\r\nX : y\r\n\r\n"),
        ("a folded trailer", "5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n"),
        ("a trailer without a colon", "5\r\nhello\r\n0\r\nX\r\n\r\n"),
        ("a NUL in a trailer", "5\r\nhello\r\n0\r\nX: \0\r\n\r\n"),
        ("huge trailers", &trailers),
        ("a bare LF ends the trailers", "5\r\nhello\r\n0\r\n\n"),
        ("a bare LF behind the last size", "5\r\nhello\r\n0\n\r\n"),
    ];
    table.map(|(name, body)| Row(name, format!("{}{HIDDEN}", chunked(body)), Wanted::Cut)).into()
}

fn sound() -> Vec<Row> {
    let visible: &[&str] = &["POST /¤/visible"];
    vec![
        passed("an extension", chunked("5;a=\"b\"\r\nhello\r\n0;c\r\n\r\n"), visible),
        passed("a size with zeros", chunked("00005\r\nhello\r\n000\r\n\r\n"), visible),
        passed("a size in capitals", chunked("A\r\nhellohello\r\n0\r\n\r\n"), visible),
        passed(
            "a trailer that would be a length",
            chunked("5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n"),
            visible,
        ),
        passed("a trailer that would be a coding", chunked("0\r\nTransfer-Encoding: x\r\n\r\n"), visible),
        passed("a trailer that would be a host", chunked("0\r\nHost: x\r\n\r\n"), visible),
        passed(
            "a trailer that is the gateway's own word",
            chunked("0\r\nBanyan-Subject: 7\r\n\r\n"),
            visible,
        ),
    ]
}
