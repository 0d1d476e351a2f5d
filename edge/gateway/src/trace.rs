//! W3C trace context (<https://www.w3.org/TR/trace-context/>): a request continues the trace it belongs to,
//! or begins one. The gateway is a span of its own: it sends a parent id of its own.

use rand::Rng as _;
use std::fmt::Write as _;

/// What is sent on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// 32 hex digits.
    pub id: String,
    /// The header `traceparent`.
    pub parent: String,
    /// Whether the trace was begun elsewhere, so that `tracestate` belongs to it.
    pub continued: bool,
}

impl Trace {
    /// Continues the trace of a `traceparent`, or begins one where there is none that can be read.
    pub fn of(traceparent: Option<&str>) -> Self {
        let (id, flags, continued) = match traceparent.and_then(parse) {
            Some((id, flags)) => (id.to_owned(), flags, true),
            None => (random_hex(16), "00", false),
        };
        let parent = format!("00-{id}-{}-{flags}", random_hex(8));
        Self { id, parent, continued }
    }
}

/// Trace id and flags. A version above 00 may have more fields behind, which are dropped with it.
fn parse(text: &str) -> Option<(&str, &str)> {
    let (version, id, parent, flags) =
        (text.get(..2)?, text.get(3..35)?, text.get(36..52)?, text.get(53..55)?);
    let hex = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let zero = |part: &str| part.bytes().all(|b| b == b'0');
    let bytes = text.as_bytes();
    let separated = [2, 35, 52].iter().all(|at| bytes[*at] == b'-');
    let ended = text.len() == 55 || (version != "00" && bytes[55] == b'-');
    let plain = hex(version) && hex(id) && hex(parent) && hex(flags);
    (separated && ended && plain && version != "ff" && !zero(id) && !zero(parent)).then_some((id, flags))
}

fn random_hex(length: usize) -> String {
    let mut bytes = [0; 16];
    let bytes = &mut bytes[..length];
    rand::rng().fill_bytes(bytes);
    // All zeros is no id.
    bytes[0] |= 1;
    bytes.iter().fold(String::with_capacity(2 * length), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn a_trace_is_continued_with_a_parent_of_our_own() {
        for given in [
            format!("00-{ID}-b7ad6b7169203331-01"),
            format!("01-{ID}-b7ad6b7169203331-01"),
            format!("01-{ID}-b7ad6b7169203331-01-more"),
        ] {
            let trace = Trace::of(Some(&given));
            assert!(trace.continued && trace.id == ID, "{given}");
            let (id, flags) = parse(&trace.parent).unwrap();
            assert_eq!((id, flags), (ID, "01"));
            assert!(!trace.parent.contains("b7ad6b7169203331") && trace.parent.starts_with("00-"));
        }
    }

    #[test]
    fn what_is_no_trace_begins_a_new_one() {
        let id = ID.to_uppercase();
        for given in [
            "".into(),
            "00".into(),
            format!("00-{id}-b7ad6b7169203331-01"),
            format!("00-{ID}-b7ad6b7169203331-01-more"),
            format!("ff-{ID}-b7ad6b7169203331-01"),
            format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            format!("00-{ID}-{}-01", "0".repeat(16)),
            format!("00_{ID}_b7ad6b7169203331_01"),
            format!("00-{ID}-b7ad6b7169203331-0\u{fc}"),
        ] {
            let trace = Trace::of(Some(&given));
            assert!(!trace.continued && trace.id != ID && parse(&trace.parent).is_some(), "{given}");
        }
        assert_ne!(Trace::of(None).id, Trace::of(None).id);
    }
}
