//! Spans: what took how long, on whose behalf, and below what.
//!
//! [`context`] the identity of a span; [`Tracer`] begins spans; [`current`] and [`scope`] say on whose behalf
//! the code that runs now runs. Where no exporter is installed, identities are handed on all the same, and
//! nothing else happens. A span never waits: where the exporter's queue is full it is dropped and counted.

pub mod context;
mod span;

pub use context::SpanContext;
pub use span::{Finished, Kind, Span, Value};

use std::borrow::Cow;
use std::sync::OnceLock;
use tokio::sync::mpsc;

tokio::task_local! {
    static CURRENT: SpanContext;
}

/// The span on whose behalf the current task runs.
pub fn current() -> Option<SpanContext> {
    CURRENT.try_with(|context| *context).ok()
}

/// Runs a future on behalf of a span.
pub async fn scope<F: Future>(context: SpanContext, future: F) -> F::Output {
    CURRENT.scope(context, future).await
}

/// Runs a closure on behalf of a span.
pub fn sync_scope<R>(context: SpanContext, run: impl FnOnce() -> R) -> R {
    CURRENT.sync_scope(context, run)
}

/// Where finished spans go, and which new traces are kept.
#[derive(Debug)]
pub(crate) struct Sink {
    /// The exporter's queue.
    pub queue: mpsc::Sender<Finished>,
    /// Of new traces, those whose chance is not above; none where it is 0.
    pub sampled_up_to: u64,
}

/// One per process, as the registry of metrics and the subscriber of logs are.
static SINK: OnceLock<Sink> = OnceLock::new();

/// Installs the exporter's end; false where there is one already.
pub(crate) fn install(sink: Sink) -> bool {
    SINK.set(sink).is_ok()
}

/// Counts spans by what became of them.
pub(crate) fn count(outcome: &str, spans: u64) {
    span::SPANS.with_label_values(&[outcome]).inc_by(spans);
}

fn sink() -> Option<&'static Sink> {
    SINK.get()
}

/// Begins the spans of one role.
#[derive(Clone, Copy, Debug)]
pub struct Tracer {
    service: &'static str,
}

impl Tracer {
    /// The tracer of a role; `service` is its OpenTelemetry `service.name`.
    pub const fn of(service: &'static str) -> Self {
        Self { service }
    }

    /// Begins a span now. Without a parent it begins a trace, which is kept by chance (`sample_ratio`); with
    /// one it is kept where its parent is.
    pub fn begin(&self, name: impl Into<Cow<'static, str>>, kind: Kind, parent: Option<SpanContext>) -> Span {
        let context = match parent {
            Some(parent) => parent.child(),
            None => root(),
        };
        let kept = sink().filter(|_| context.is_sampled());
        let ids = (context, parent.map(SpanContext::span_id));
        Span::new(context, kept.map(|_| Finished::new(self.service, name.into(), kind, ids)))
    }
}

fn root() -> SpanContext {
    let unsampled = SpanContext::root(false);
    match sink() {
        Some(sink) if unsampled.chance() <= sink.sampled_up_to && sink.sampled_up_to > 0 => unsampled.kept(),
        _ => unsampled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_runs_within_a_span_knows_it() {
        let (outer, inner) = (SpanContext::root(true), SpanContext::root(false));
        assert_eq!(current(), None);
        scope(outer, async {
            tokio::task::yield_now().await;
            assert_eq!(current(), Some(outer));
            assert_eq!(sync_scope(inner, current), Some(inner));
            assert_eq!(current(), Some(outer));
        })
        .await;
        assert_eq!(current(), None);
    }

    #[test]
    fn without_an_exporter_identities_are_handed_on_and_nothing_is_kept() {
        let parent = SpanContext::root(true);
        let span = Tracer::of("test").begin("a", Kind::Internal, Some(parent));
        assert_eq!(span.context().trace_id(), parent.trace_id());
        assert!(!span.is_recorded());
        assert!(!Tracer::of("test").begin("b", Kind::Server, None).context().is_sampled());
    }
}
