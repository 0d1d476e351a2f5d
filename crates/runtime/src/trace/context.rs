//! W3C trace context (<https://www.w3.org/TR/trace-context/>): which trace and which span something belongs to.

use rand::Rng as _;
use std::fmt;

/// The length of a `traceparent` of version 00.
pub const TRACEPARENT_LENGTH: usize = 55;

/// The identity of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanContext {
    /// The trace; never 0.
    trace: u128,
    /// The span; never 0.
    span: u64,
    sampled: bool,
}

impl SpanContext {
    /// The first span of a new trace.
    pub fn root(sampled: bool) -> Self {
        let mut bytes = [0; 16];
        rand::rng().fill_bytes(&mut bytes);
        // All zeros is no id.
        Self { trace: u128::from_be_bytes(bytes) | 1 << 120, span: span_id(), sampled }
    }

    /// A span below this one.
    #[must_use]
    pub fn child(self) -> Self {
        Self { span: span_id(), ..self }
    }

    /// The same span, of a trace that is kept.
    pub(super) fn kept(self) -> Self {
        Self { sampled: true, ..self }
    }

    /// Reads a `traceparent`. A version above 00 may have more fields behind, which are dropped with it.
    pub fn parse(text: &str) -> Option<Self> {
        let (version, trace, span, flags) =
            (text.get(..2)?, text.get(3..35)?, text.get(36..52)?, text.get(53..55)?);
        let hex = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let bytes = text.as_bytes();
        let separated = [2, 35, 52].iter().all(|at| bytes[*at] == b'-');
        let ended = text.len() == TRACEPARENT_LENGTH || (version != "00" && bytes[55] == b'-');
        if !separated || !ended || version == "ff" || ![version, trace, span, flags].into_iter().all(hex) {
            return None;
        }
        let context = Self {
            trace: u128::from_str_radix(trace, 16).ok()?,
            span: u64::from_str_radix(span, 16).ok()?,
            sampled: u8::from_str_radix(flags, 16).ok()? & 1 == 1,
        };
        (context.trace != 0 && context.span != 0).then_some(context)
    }

    /// Whether somebody above decided that the trace is kept.
    pub fn is_sampled(self) -> bool {
        self.sampled
    }

    /// The trace's id, 32 hex digits.
    pub fn trace_id(self) -> String {
        format!("{:032x}", self.trace)
    }

    /// The span's id, 16 hex digits.
    pub fn span_id(self) -> String {
        format!("{:016x}", self.span)
    }

    /// A number that is spread evenly over all traces, for sampling.
    pub(super) fn chance(self) -> u64 {
        // The lower half: the part that the specification's level 2 wants to be random.
        self.trace as u64
    }
}

/// The header `traceparent`.
impl fmt::Display for SpanContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

fn span_id() -> u64 {
    let mut bytes = [0; 8];
    rand::rng().fill_bytes(&mut bytes);
    u64::from_be_bytes(bytes) | 1 << 56
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn what_is_written_is_read_again() {
        for (given, sampled) in [
            (format!("00-{ID}-b7ad6b7169203331-01"), true),
            (format!("00-{ID}-b7ad6b7169203331-00"), false),
            (format!("01-{ID}-b7ad6b7169203331-03"), true),
            (format!("01-{ID}-b7ad6b7169203331-00-more"), false),
        ] {
            let context = SpanContext::parse(&given).unwrap();
            assert_eq!((context.is_sampled(), context.trace_id().as_str()), (sampled, ID), "{given}");
            assert_eq!(context.span_id(), "b7ad6b7169203331");
            assert_eq!(SpanContext::parse(&context.to_string()), Some(context));
            let child = context.child();
            assert!(child.trace_id() == ID && child.span_id() != context.span_id(), "{child}");
            assert_eq!(child.is_sampled(), sampled);
        }
        assert_ne!(SpanContext::root(true).trace_id(), SpanContext::root(true).trace_id());
    }

    #[test]
    fn what_is_no_trace_context_is_not_read() {
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
            format!("00-{ID}-b7ad6b7169203331-+1"),
        ] {
            assert_eq!(SpanContext::parse(&given), None, "{given}");
        }
    }
}
