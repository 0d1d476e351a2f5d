//! A span while it lasts, and what is left of it.

use prometheus::{IntCounterVec, register_int_counter_vec};
use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::Instant;

use super::{SpanContext, sink};
use crate::clock;

/// The most attributes of a span; more are left out.
const ATTRIBUTES_MAX: usize = 32;
/// The most bytes of a text attribute; the rest is cut off.
const TEXT_BYTES_MAX: usize = 512;

/// Spans by what became of them: `exported`, `dropped` where the queue was full, `failed` where no collector
/// took them.
pub(super) static SPANS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "banyan_telemetry_spans_total",
        "Spans by what became of them: exported, dropped (queue full), failed (no collector took them)",
        &["outcome"]
    )
    .expect("a metric of a unique name is registered once")
});

/// OpenTelemetry's `SpanKind`, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Neither.
    Internal = 1,
    /// Answers a request.
    Server = 2,
    /// Sends a request and waits for its answer.
    Client = 3,
    /// Hands on a message that somebody else reads later.
    Producer = 4,
    /// Reads such a message.
    Consumer = 5,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number.
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        let mut end = text.len().min(TEXT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self::Text(text[..end].to_owned())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// A span that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// Whose it is: OpenTelemetry's `service.name`.
    pub service: &'static str,
    /// What it is.
    pub context: SpanContext,
    /// The id of the span above, 16 hex digits.
    pub parent: Option<String>,
    /// Its name, one of few.
    pub name: Cow<'static, str>,
    /// Its kind.
    pub kind: Kind,
    /// Its begin, in nanoseconds since 1970.
    pub start_ns: u64,
    /// Its end, in nanoseconds since 1970.
    pub end_ns: u64,
    /// Attributes in OpenTelemetry's names.
    pub attributes: Vec<(&'static str, Value)>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

impl Finished {
    pub(super) fn new(
        service: &'static str,
        name: Cow<'static, str>,
        kind: Kind,
        (context, parent): (SpanContext, Option<String>),
    ) -> Box<Self> {
        let now = clock::unix_ns();
        Box::new(Self {
            service,
            context,
            parent,
            name,
            kind,
            start_ns: now,
            end_ns: now,
            attributes: Vec::new(),
            failure: None,
        })
    }
}

/// A span that lasts until it is dropped.
#[derive(Debug)]
pub struct Span {
    context: SpanContext,
    begun: Instant,
    record: Option<Box<Finished>>,
}

impl Span {
    pub(super) fn new(context: SpanContext, record: Option<Box<Finished>>) -> Self {
        Self { context, begun: clock::instant(), record }
    }

    /// Its identity, for whoever goes on with the trace.
    pub fn context(&self) -> SpanContext {
        self.context
    }

    /// Whether anything is kept of it.
    pub fn is_recorded(&self) -> bool {
        self.record.is_some()
    }

    /// Gives it another name.
    pub fn rename(&mut self, name: String) {
        if let Some(record) = &mut self.record {
            record.name = name.into();
        }
    }

    /// Adds an attribute. Never a secret, a query, a body, nor what identifies a person.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(record) = &mut self.record
            && record.attributes.len() < ATTRIBUTES_MAX
        {
            record.attributes.push((name, value.into()));
        }
    }

    /// It has failed.
    pub fn fail(&mut self, cause: &str) {
        if let Some(record) = &mut self.record {
            record.failure = Some(cause.chars().take(TEXT_BYTES_MAX / 4).collect());
        }
    }

    /// It began at an instant in the past.
    pub fn begun(&mut self, at: Instant) {
        let earlier = self.begun.saturating_duration_since(at);
        self.begun = at;
        if let Some(record) = &mut self.record {
            record.start_ns = record.start_ns.saturating_sub(nanos(earlier));
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(mut record) = self.record.take() else { return };
        record.end_ns = record.start_ns.saturating_add(nanos(self.begun.elapsed()));
        if let Some(sink) = sink()
            && sink.queue.try_send(*record).is_err()
        {
            SPANS.with_label_values(&["dropped"]).inc();
        }
    }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        let Value::Text(text) = Value::from("ä".repeat(400).as_str()) else { panic!() };
        assert_eq!(text.len(), 512);
        let Value::Text(text) = Value::from(format!("a{}", "ä".repeat(400)).as_str()) else { panic!() };
        assert_eq!(text.len(), 511);
    }
}
