//! One step of one customer, outside the load.

use anyhow::{Context as _, bail};
use banyan_runtime::trace::SpanContext;
use hyper::header::HeaderValue;

use super::journey::Step;
use super::meanwhile::Excuses;
use super::record::Verdict;
use super::{Load, check, request};

impl Load {
    /// Lets the first customer do one step, on behalf of a trace that the browser has begun.
    ///
    /// # Errors
    /// Nobody is logged in, or the answer is not the one that the step should have.
    pub async fn act(&mut self, step: Step, context: SpanContext) -> anyhow::Result<()> {
        let session = self.ready.first_mut().context("no customer is logged in")?;
        let mut attempt = request::prepare(session, step, &self.world.town);
        let traceparent = HeaderValue::from_str(&context.to_string())?;
        attempt.outgoing.headers.insert(banyan_runtime::observe::TRACEPARENT, traceparent);
        let outcome = self.world.client.send(attempt.outgoing.clone()).await;
        match check::conclude(session, attempt, outcome, Excuses::default()) {
            (Verdict::Failed(reason), _) => bail!("{}: {reason}", step.name()),
            _ => Ok(()),
        }
    }
}
