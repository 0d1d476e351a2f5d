//! Several or odd lengths and codings.

use super::{HIDDEN, Row, passed, post, post_only, refused};

const END: &str = "0\r\n\r\n";

pub fn rows() -> Vec<Row> {
    let mut rows = lengths();
    rows.extend(codings());
    rows.extend(sound());
    rows
}

fn lengths() -> Vec<Row> {
    let length = |name, headers: &str| refused(name, post(headers, "hello"), 400);
    vec![
        length("two lengths that differ", "Content-Length: 5\r\nContent-Length: 6\r\n"),
        length("two equal lengths", "Content-Length: 5\r\nContent-Length: 5\r\n"),
        length("two lengths in other letters", "Content-Length: 5\r\ncontent-LENGTH: 0\r\n"),
        length("a list of lengths", "Content-Length: 5, 5\r\n"),
        length("a list of lengths that differ", "Content-Length: 5,6\r\n"),
        length("a list with an empty length", "Content-Length: 5,\r\n"),
        length("a signed length", "Content-Length: +5\r\n"),
        length("a negative length", "Content-Length: -5\r\n"),
        length("a hexadecimal length", "Content-Length: 0x5\r\n"),
        length("a length with a fraction", "Content-Length: 5.0\r\n"),
        length("a length with an exponent", "Content-Length: 5e0\r\n"),
        length("an empty length", "Content-Length:\r\n"),
        length("an overflowing length", "Content-Length: 18446744073709551621\r\n"),
        length("a length of 2^63", "Content-Length: 9223372036854775808\r\n"),
        length("a length with a space inside", "Content-Length: 5 5\r\n"),
        length("a quoted length", "Content-Length: \"5\"\r\n"),
        length("a length with an underscore", "Content-Length: 0_5\r\n"),
        length("a length with a vertical tab", "Content-Length: \x0b5\r\n"),
        length("a length with a NUL", "Content-Length: 5\0\r\n"),
        length("a length with digits of another script", "Content-Length: \u{665}\r\n"),
    ]
}

fn codings() -> Vec<Row> {
    let coding = |name, headers: &str| refused(name, post(headers, END), 400);
    vec![
        coding("both, length first", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        coding("both, coding first", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        coding("both, length zero", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
        coding("both, coding unknown", "Content-Length: 5\r\nTransfer-Encoding: x\r\n"),
        coding("both, coding empty", "Content-Length: 5\r\nTransfer-Encoding:\r\n"),
        coding("gzip, chunked", "Transfer-Encoding: gzip, chunked\r\n"),
        coding("chunked, gzip", "Transfer-Encoding: chunked, gzip\r\n"),
        coding("chunked, identity", "Transfer-Encoding: chunked, identity\r\n"),
        coding("identity, chunked", "Transfer-Encoding: identity, chunked\r\n"),
        coding("chunked, chunked", "Transfer-Encoding: chunked, chunked\r\n"),
        coding("chunked with a comma", "Transfer-Encoding: chunked,\r\n"),
        coding("a comma before chunked", "Transfer-Encoding: ,chunked\r\n"),
        coding("identity", "Transfer-Encoding: identity\r\n"),
        coding("xchunked", "Transfer-Encoding: xchunked\r\n"),
        coding("chunkedx", "Transfer-Encoding: chunkedx\r\n"),
        coding("chunked with a parameter", "Transfer-Encoding: chunked;q=1\r\n"),
        coding("quoted chunked", "Transfer-Encoding: \"chunked\"\r\n"),
        coding("chunked with a vertical tab", "Transfer-Encoding: \x0bchunked\r\n"),
        coding("chunked with a form feed", "Transfer-Encoding: chunked\x0c\r\n"),
        coding("chunked with a NUL", "Transfer-Encoding: chunked\0\r\n"),
        coding("chunked with a no-break space", "Transfer-Encoding: \u{a0}chunked\r\n"),
        coding("two codings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        coding("a coding and identity", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        coding("identity and a coding", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"),
        coding("an empty coding", "Transfer-Encoding:\r\n"),
        refused(
            "coding in HTTP/1.0",
            format!("POST /¤/visible HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n{END}{HIDDEN}"),
            400,
        ),
    ]
}

fn sound() -> Vec<Row> {
    let visible: &[&str] = &["POST /¤/visible"];
    vec![
        passed("chunked in capitals", post_only("Transfer-Encoding: CHUNKED\r\n", END), visible),
        passed("chunked between blanks", post_only("Transfer-Encoding: \t chunked \t\r\n", END), visible),
        passed("the name in capitals", post_only("TRANSFER-ENCODING: chunked\r\n", END), visible),
        passed("a length between blanks", post_only("Content-Length: \t5 \r\n", "hello"), visible),
        passed("a length with zeros", post_only("Content-Length: 0005\r\n", "hello"), visible),
        passed(
            "a length whose name has an underscore is none",
            format!("{}GET /¤/next HTTP/1.1\r\nHost: h\r\n\r\n", post_only("Content_Length: 90\r\n", "")),
            &["POST /¤/visible", "GET /¤/next"],
        ),
        passed(
            "a length that Connection would take away",
            post_only("Content-Length: 5\r\nConnection: content-length\r\n", "hello"),
            visible,
        ),
        passed(
            "a request as a body",
            post_only("Content-Length: 35\r\n", "GET /x/inside HTTP/1.1\r\nHost: h\r\n\r\n"),
            visible,
        ),
        passed(
            "requests one behind the other",
            format!(
                "{}{}",
                post_only("Content-Length: 5\r\n", "hello"),
                "GET /¤/next HTTP/1.1\r\nHost: h\r\n\r\n"
            ),
            &["POST /¤/visible", "GET /¤/next"],
        ),
    ]
}
