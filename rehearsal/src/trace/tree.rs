//! The spans of one trace as a tree: for people, and as a shape that can be compared.

use banyan_runtime::trace::SpanContext;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::collector::Span;

/// Attributes that tell siblings apart, in the order in which they are looked for.
const TELLING: [&str; 3] = ["banyan.event", "banyan.outcome", "peer.service"];
/// Attributes that are shown.
const SHOWN: [&str; 5] =
    ["http.response.status_code", "url.path", "banyan.rows", "banyan.binlog", "banyan.notification"];
/// Where the times begin.
const TIMES_AT: usize = 52;

/// The spans of one trace below the browser's.
pub struct Tree {
    /// The trace's id.
    pub trace_id: String,
    root: Span,
    below: BTreeMap<String, Vec<Span>>,
}

/// The span of the browser itself, which reports to nobody.
pub fn browser(context: SpanContext, name: &str, (start_ns, end_ns): (u64, u64)) -> Span {
    Span {
        trace_id: context.trace_id(),
        span_id: context.span_id(),
        parent_id: String::new(),
        service: "browser".into(),
        name: name.into(),
        kind: 3,
        start_ns,
        end_ns,
        attributes: BTreeMap::new(),
        failed: false,
    }
}

impl Tree {
    /// A tree of the spans that have arrived. An attempt that failed and was repeated is no part of it.
    pub fn of(root: Span, spans: Vec<Span>) -> Self {
        let mut below: BTreeMap<String, Vec<Span>> = BTreeMap::new();
        for span in spans.into_iter().filter(|span| !span.failed) {
            below.entry(span.parent_id.clone()).or_default().push(span);
        }
        for siblings in below.values_mut() {
            siblings.sort_by_key(|span| (label(span), span.start_ns));
        }
        Self { trace_id: root.trace_id.clone(), root, below }
    }

    /// All spans, each behind the one above it.
    pub fn spans(&self) -> Vec<&Span> {
        self.walk().into_iter().map(|(_, span)| span).collect()
    }

    /// One line for each span, two spaces for each level, siblings in the order of their names.
    pub fn shape(&self) -> String {
        let line = |(depth, span): (usize, &Span)| format!("{}{}\n", "  ".repeat(depth), label(span));
        self.walk().into_iter().map(line).collect()
    }

    /// For people: when each span began after the click, how long it took, what it was about.
    pub fn print(&self) -> String {
        let mut text = format!("trace {}\n", self.trace_id);
        for (depth, span) in self.walk() {
            let branch = if depth == 0 { String::new() } else { format!("{}└ ", "  ".repeat(depth - 1)) };
            let line = format!("{branch}{}", label(span));
            let pad = TIMES_AT.saturating_sub(line.chars().count());
            let ms = |ns: u64| ns as f64 / 1_000_000.0;
            let (at, took) = (span.start_ns.saturating_sub(self.root.start_ns), span.end_ns - span.start_ns);
            // Writing to a string cannot fail.
            let _ = write!(text, "{line}{} +{:8.1} ms {:8.1} ms", " ".repeat(pad), ms(at), ms(took));
            for (key, value) in SHOWN.iter().filter_map(|key| span.attributes.get_key_value(*key)) {
                let _ = write!(text, "  {}={value}", key.rsplit('.').next().unwrap_or(key));
            }
            text.push('\n');
        }
        text
    }

    /// Depth first.
    fn walk(&self) -> Vec<(usize, &Span)> {
        let (mut open, mut walked) = (vec![(0, &self.root)], Vec::new());
        while let Some((depth, span)) = open.pop() {
            walked.push((depth, span));
            let below = self.below.get(&span.span_id).into_iter().flatten();
            open.extend(below.rev().map(|span| (depth + 1, span)));
        }
        walked
    }
}

fn label(span: &Span) -> String {
    let telling = TELLING.iter().find_map(|key| span.attributes.get(*key));
    let telling = telling.map(|value| format!(" {value}")).unwrap_or_default();
    format!("{} {}{telling}", span.service, span.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: &str, (service, event): (&str, &str)) -> Span {
        let attributes = BTreeMap::from([("banyan.event".to_owned(), event.to_owned())]);
        let root = browser(SpanContext::root(true), "s", (1_000_000, 3_500_000));
        Span { span_id: id.into(), parent_id: parent.into(), service: service.into(), attributes, ..root }
    }

    #[test]
    fn spans_stand_below_their_parents_in_the_order_of_their_names() {
        let root = span("r", "", ("browser", "x"));
        let failed = Span { failed: true, ..span("f", "r", ("sync", "x")) };
        let spans = vec![
            span("2", "1", ("sync", "z")),
            span("3", "1", ("sync", "a")),
            failed,
            span("1", "r", ("gateway", "x")),
            span("4", "elsewhere", ("lost", "x")),
        ];
        let tree = Tree::of(root, spans);
        assert_eq!(tree.shape(), "browser s x\n  gateway s x\n    sync s a\n    sync s z\n");
        assert_eq!(tree.spans().len(), 4);
        assert!(tree.print().contains("  └ sync s a") && tree.print().contains("2.5 ms"), "{}", tree.print());
    }
}
