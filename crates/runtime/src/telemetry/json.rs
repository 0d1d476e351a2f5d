//! A log line as one JSON object, with the trace and the span on whose behalf it was written.

use serde_json::{Map, Value};
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::{clock, trace};

/// `timestamp` (RFC 3339, UTC), `level`, `target`, `message`, `trace_id` and `span_id` where there are any,
/// and the line's own fields beside them.
#[derive(Clone, Copy, Debug)]
pub struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut line = fields.0;
        // Last: a field of the same name does not replace them.
        line.insert("timestamp".into(), timestamp(clock::unix_ns()).into());
        line.insert("level".into(), event.metadata().level().as_str().into());
        line.insert("target".into(), event.metadata().target().into());
        if let Some(context) = trace::current() {
            line.insert("trace_id".into(), context.trace_id().into());
            line.insert("span_id".into(), context.span_id().into());
        }
        writeln!(writer, "{}", Value::Object(line))
    }
}

fn timestamp(unix_ns: u64) -> String {
    let time = i64::try_from(unix_ns / 1000).ok().and_then(|us| jiff::Timestamp::from_microsecond(us).ok());
    time.map(|time| format!("{time:.6}")).unwrap_or_default()
}

/// The fields of an event by name.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::SpanContext;
    use serde_json::json;
    use std::io;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::prelude::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(run: impl FnOnce()) -> Vec<Value> {
        let written = Written::default();
        let writer = written.clone();
        let layer =
            tracing_subscriber::fmt::layer().event_format(JsonLines).with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), run);
        let bytes = written.0.lock().unwrap().clone();
        bytes
            .split(|b| *b == b'\n')
            .filter(|l| !l.is_empty())
            .map(|l| serde_json::from_slice(l).unwrap())
            .collect()
    }

    #[test]
    fn a_line_holds_its_fields_and_the_span_on_whose_behalf_it_was_written() {
        let context = SpanContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        let mut found = lines(|| {
            tracing::warn!(target: "access", n = 3, text = "a \"b\"\n", level = "mine", what = ?Some(1), "hello");
            trace::sync_scope(context, || tracing::info!("inside"));
        });
        let stamp = found[0].as_object_mut().unwrap().remove("timestamp").unwrap();
        assert!(stamp.as_str().unwrap().ends_with('Z') && stamp.as_str().unwrap().len() == 27, "{stamp}");
        let wanted = json!({
            "level": "WARN", "target": "access", "message": "hello", "n": 3, "text": "a \"b\"\n", "what": "Some(1)",
        });
        assert_eq!(found[0], wanted);
        assert_eq!(found[1]["trace_id"], json!("0af7651916cd43dd8448eb211c80319c"));
        assert_eq!(found[1]["span_id"], json!("b7ad6b7169203331"));
    }

    #[test]
    fn timestamps_are_in_utc() {
        assert_eq!(timestamp(1_700_000_000_123_456_789), "2023-11-14T22:13:20.123456Z");
    }
}
