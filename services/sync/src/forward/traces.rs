//! The traces that rows of the monolith belong to: a table may have a column in which the monolith's code has
//! noted the `traceparent` of the request that inserted a row (`trace_column`).

use banyan_core::Capability;
use banyan_core::protocol::import::{ImportBatch, ImportTrace};
use banyan_core::row::Change;
use banyan_runtime::trace::{Kind, Span, SpanContext, Tracer};
use serde_json::Value;
use std::time::Instant;

/// The tracer of both streams.
pub const TRACER: Tracer = Tracer::of("sync");

/// Begins a span for each trace that inserts of the batch belong to, since the batch was begun, and tells the
/// service below which span it goes on.
pub fn begin(capability: &Capability, batch: &mut ImportBatch, begun: Instant) -> Vec<Span> {
    let mut traces: Vec<(SpanContext, Vec<usize>)> = Vec::new();
    for (index, change) in batch.changes.iter().enumerate() {
        let Some(context) = context_of(capability, change) else { continue };
        match traces.iter_mut().rev().find(|(known, _)| *known == context) {
            Some((_, changes)) => changes.push(index),
            None => traces.push((context, vec![index])),
        }
    }
    let mut spans = Vec::with_capacity(traces.len());
    for (parent, changes) in traces {
        let mut span = TRACER.begin("apply", Kind::Consumer, Some(parent));
        span.begun(begun);
        span.set("banyan.capability", capability.name.as_str());
        span.set("banyan.rows", changes.len() as u64);
        if span.is_recorded() {
            span.set("banyan.binlog", format!("{}:{}", batch.to.file, batch.to.offset).as_str());
        }
        batch.traces.push(ImportTrace { traceparent: span.context().to_string(), changes });
        spans.push(span);
    }
    spans
}

/// The trace of an inserted row. What the column holds is the monolith's, and may be anything.
fn context_of(capability: &Capability, change: &Change) -> Option<SpanContext> {
    let Change::Insert { table, after } = change else { return None };
    let column = capability.table(table)?.trace_column.as_ref()?;
    after.get(column).and_then(Value::as_str).and_then(SpanContext::parse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_core::Row;
    use banyan_core::protocol::import::BinlogPosition;
    use serde_json::json;

    const ONE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const TWO: &str = "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-00";

    fn insert(table: &str, trace: Value) -> Change {
        Change::Insert { table: table.into(), after: Row::from([("trace".into(), trace)]) }
    }

    #[test]
    fn the_service_goes_on_below_a_span_of_each_trace() {
        let capability: Capability = serde_json::from_value(json!({
            "name": "n", "owner": "o", "service": "http://s", "routes": [], "tables": [
                { "name": "traced", "key": "id", "subject": "id", "trace_column": "trace" },
                { "name": "plain", "key": "id", "subject": "id" },
            ],
        }))
        .unwrap();
        let changes = vec![
            insert("traced", json!(ONE)),
            insert("traced", json!(TWO)),
            insert("plain", json!(ONE)),
            insert("traced", json!(null)),
            insert("traced", json!("'; DROP TABLE")),
            insert("traced", json!(ONE)),
            Change::Delete { table: "traced".into(), before: Row::from([("trace".into(), json!(ONE))]) },
        ];
        let to = BinlogPosition { file: "b".into(), offset: 9 };
        let mut batch = ImportBatch { from: None, to, changes, chunk: None, traces: Vec::new() };
        let spans = begin(&capability, &mut batch, banyan_runtime::clock::instant());
        let told: Vec<_> = batch.traces.iter().map(|trace| trace.changes.clone()).collect();
        assert_eq!(told, [vec![0, 5], vec![1]]);
        for ((trace, span), parent) in batch.traces.iter().zip(&spans).zip([ONE, TWO]) {
            let (context, parent) = (span.context(), SpanContext::parse(parent).unwrap());
            assert_eq!(trace.traceparent, context.to_string());
            assert!(context.trace_id() == parent.trace_id() && context.span_id() != parent.span_id());
        }
    }
}
