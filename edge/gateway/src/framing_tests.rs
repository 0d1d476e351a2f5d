//! The reader's verdicts, whole and in pieces.

use super::*;
use proptest::prelude::*;

const LIMITS: HeadLimits = HeadLimits { bytes_max: 512, lines_max: 8 };

/// Feeds all bytes at once: how many pass in requests' units, and the fault, if any.
fn read(bytes: &[u8]) -> (Vec<usize>, Option<Fault>) {
    read_in_pieces(bytes, bytes.len().max(1))
}

/// Feeds so many bytes at a time.
fn read_in_pieces(bytes: &[u8], piece: usize) -> (Vec<usize>, Option<Fault>) {
    let mut framing = Framing::new(LIMITS);
    let (mut at, mut available, mut requests, mut passed) = (0, 0, Vec::new(), 0);
    loop {
        match framing.look(&bytes[at..available]) {
            Look::More if available == bytes.len() => break,
            Look::More => available = (available + piece).min(bytes.len()),
            Look::Skip(count) => at += count,
            Look::Pass(count) => {
                assert!(count > 0 && at + count <= available);
                (at, passed) = (at + count, passed + count);
                framing.release();
                if framing.is_between_requests() {
                    requests.push(std::mem::take(&mut passed));
                }
            }
            Look::Refused(fault) => return (requests, Some(fault)),
        }
    }
    (requests, None)
}

#[test]
fn requests_are_told_apart() {
    let get = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
    let post = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    let chunked = "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n\
                   5;a=\"b\"\r\nhello\r\n0a\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n";
    let all = format!("{get}{post}\r\n{chunked}{get}");
    let lengths = vec![get.len(), post.len(), chunked.len(), get.len()];
    for piece in [1, 2, 3, 7, 64, 4096] {
        assert_eq!(read_in_pieces(all.as_bytes(), piece), (lengths.clone(), None), "{piece}");
    }
}

#[test]
fn other_targets_and_versions_are_understood() {
    for head in [
        "GET / HTTP/1.0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /?a=b%20c&d[]=|{} HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        "GET /\u{fc} HTTP/1.1\r\nhOST:x.example:8080\r\nA:\r\nB:  \t\u{e4} \r\n\r\n",
        "POST / HTTP/1.0\r\nContent-Length: 0\r\n\r\n",
    ] {
        assert_eq!(read(head.as_bytes()), (vec![head.len()], None), "{head:?}");
    }
}

#[test]
fn limits_are_kept() {
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "a: b\r\n".repeat(8));
    assert_eq!(read(many.as_bytes()), (vec![], Some(Fault::HeadTooLarge)));
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(512));
    assert_eq!(read(long.as_bytes()), (vec![], Some(Fault::HeadTooLarge)));
    assert_eq!(read("a".repeat(512).as_bytes()), (vec![], Some(Fault::HeadTooLarge)));
    let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let endless = format!("{chunked}1;{}", "a".repeat(300));
    assert!(matches!(read(endless.as_bytes()).1, Some(Fault::Malformed(_))));
    let trailers = format!("{chunked}0\r\n{}", "a: b\r\n".repeat(2000));
    assert!(matches!(read(trailers.as_bytes()).1, Some(Fault::Malformed(_))));
}

proptest! {
    #[test]
    fn how_bytes_are_cut_makes_no_difference(
        text in "(GET|POST) /[a-c]{0,3} HTTP/1\\.1\r\nHost: x\r\n(Content-Length: [0-3]\r\n|Transfer-Encoding: chunked\r\n)?\r\n[0-3a\r\n;x]{0,24}",
        piece in 1..40usize,
    ) {
        prop_assert_eq!(read_in_pieces(text.as_bytes(), piece), read(text.as_bytes()));
    }

    #[test]
    fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..300), piece in 1..40usize) {
        let _ = read_in_pieces(&bytes, piece);
    }
}
