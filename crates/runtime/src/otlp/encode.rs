//! The JSON encoding of `ExportTraceServiceRequest`: ids in hex, 64-bit numbers as text, enums by number.

use bytes::Bytes;
use serde_json::json;
use std::collections::BTreeMap;

use crate::trace::{Finished, Value};

/// Banyan's `service.namespace`, and the name of its instrumentation scope.
const NAMESPACE: &str = "banyan";
/// `STATUS_CODE_ERROR`.
const ERROR: u8 = 2;

/// A request with these spans, by the role whose they are.
pub fn request(spans: &[Finished]) -> Bytes {
    let mut by_service: BTreeMap<&str, Vec<serde_json::Value>> = BTreeMap::new();
    for span in spans {
        by_service.entry(span.service).or_default().push(encoded(span));
    }
    let version = env!("CARGO_PKG_VERSION");
    let resources: Vec<serde_json::Value> = by_service
        .into_iter()
        .map(|(service, spans)| {
            let text = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
            let attributes = [
                text("service.name", service),
                text("service.namespace", NAMESPACE),
                text("service.version", version),
            ];
            json!({
                "resource": { "attributes": attributes },
                "scopeSpans": [{ "scope": { "name": NAMESPACE, "version": version }, "spans": spans }],
            })
        })
        .collect();
    json!({ "resourceSpans": resources }).to_string().into()
}

fn encoded(span: &Finished) -> serde_json::Value {
    let attribute = |(key, value): &(&str, Value)| {
        let value = match value {
            Value::Text(text) => json!({ "stringValue": text }),
            Value::Number(number) => json!({ "intValue": number.to_string() }),
        };
        json!({ "key": key, "value": value })
    };
    let status = match &span.failure {
        Some(cause) => json!({ "code": ERROR, "message": cause }),
        None => json!({}),
    };
    json!({
        "traceId": span.context.trace_id(),
        "spanId": span.context.span_id(),
        "parentSpanId": span.parent.as_deref().unwrap_or_default(),
        "name": span.name,
        "kind": span.kind as u8,
        "startTimeUnixNano": span.start_ns.to_string(),
        "endTimeUnixNano": span.end_ns.to_string(),
        "attributes": span.attributes.iter().map(attribute).collect::<Vec<_>>(),
        "status": status,
    })
}

/// How many spans a collector says that it has not taken; 0 where it says nothing of it.
pub fn rejected(answer: &[u8]) -> u64 {
    let answer: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
    let count = &answer["partialSuccess"]["rejectedSpans"];
    count.as_u64().or_else(|| count.as_str()?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Kind, SpanContext};

    #[test]
    fn a_request_is_what_the_specification_says() {
        let context = SpanContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        let span = Finished {
            service: "gateway",
            context,
            parent: Some("00f067aa0ba902b7".into()),
            name: "POST payments".into(),
            kind: Kind::Server,
            start_ns: 1_700_000_000_000_000_001,
            end_ns: 1_700_000_000_000_000_002,
            attributes: vec![("http.request.method", "POST".into()), ("n", 3_u64.into())],
            failure: None,
        };
        let failed =
            Finished { service: "sync", parent: None, failure: Some("broken".into()), ..span.clone() };
        let found: serde_json::Value = serde_json::from_slice(&request(&[span, failed])).unwrap();
        let of = |index: usize| &found["resourceSpans"][index]["scopeSpans"][0]["spans"][0];
        assert_eq!(
            *of(0),
            json!({
                "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331",
                "parentSpanId": "00f067aa0ba902b7", "name": "POST payments", "kind": 2,
                "startTimeUnixNano": "1700000000000000001", "endTimeUnixNano": "1700000000000000002",
                "attributes": [
                    { "key": "http.request.method", "value": { "stringValue": "POST" } },
                    { "key": "n", "value": { "intValue": "3" } },
                ],
                "status": {},
            })
        );
        assert_eq!(of(1)["status"], json!({ "code": 2, "message": "broken" }));
        let resource = &found["resourceSpans"][1]["resource"]["attributes"][0];
        assert_eq!(*resource, json!({ "key": "service.name", "value": { "stringValue": "sync" } }));
    }

    #[test]
    fn a_partial_success_tells_what_was_rejected() {
        for (answer, wanted) in [
            (&b"{}"[..], 0),
            (b"", 0),
            (br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}"#, 3),
            (br#"{"partialSuccess":{"rejectedSpans":2}}"#, 2),
        ] {
            assert_eq!(rejected(answer), wanted);
        }
    }
}
