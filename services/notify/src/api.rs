//! The routes: the capability's own for the gateway's requests, and those of the target for control and sync.
//!
//! Map: [`users`] and [`unsubscribe`] the capability, [`target`]; `identity` who asks, `input` and `rules`
//! what was sent, [`requests`] what it means, `json` and `pages` the answers.

mod identity;
mod input;
mod json;
mod pages;
mod requests;
mod rules;
mod target;
mod unsubscribe;
mod users;

use crate::config::Config;
use crate::domain::{Answer, Command, Rejection, Write};
use crate::links::Links;
use crate::store::NotifyCore;
use crate::worker::mail::Mails;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use banyan_core::protocol::{INCARNATION, POSITION};
use banyan_runtime::http::{Problem, metrics_route, role_only};
use banyan_runtime::observe::TRACEPARENT;
use banyan_runtime::secrets::RoleToken;
use banyan_runtime::tasks::Shutdown;
use banyan_runtime::trace;
use banyan_store::{Lease, Outbox, Readers, Refusal, Shell};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

pub use identity::Verifier;

/// What the routes answer from.
pub struct Service {
    /// Where writes go.
    pub shell: Shell<NotifyCore>,
    /// Reads.
    pub readers: Readers,
    /// The events.
    pub outbox: Outbox,
    /// Which outbox it is.
    pub incarnation: HeaderValue,
    /// Whether the service may write what it owns.
    pub lease: Lease,
    /// Checks internal tokens.
    pub verifier: Verifier,
    /// Unsubscribe links.
    pub links: Links,
    /// Mails under way.
    pub mails: Mails,
    /// How long a close waits for them.
    pub close_wait: Duration,
    /// The longest wait for outbox events.
    pub outbox_wait_max: Duration,
    /// The request to end.
    pub shutdown: Shutdown,
    /// Dropped with the last request: then the lease is given back.
    pub _serving: mpsc::Sender<Infallible>,
}

impl Service {
    /// Executes a user's write; the answer and the outbox position behind it.
    async fn execute(&self, write: Write) -> Result<(Answer, u64), Refusal<Rejection>> {
        let answered = self.shell.execute(Command::Write(write)).await?;
        Ok((answered.answer, answered.position))
    }
}

/// All routes.
pub fn router(service: Service, config: &Config, token: &RoleToken) -> Router {
    let capability =
        users::routes().merge(unsubscribe::routes()).layer(DefaultBodyLimit::max(config.body_bytes_max));
    let routes = capability
        .merge(target::routes(config.import_bytes_max))
        .fallback(|| async {
            Problem::new(StatusCode::NOT_FOUND, "no_route", "the notifications service has no such route")
        })
        .with_state(Arc::new(service));
    role_only(routes, token).merge(metrics_route())
}

/// The trace of a request: the span that is told of it, else what its header says.
fn traceparent(headers: &HeaderMap) -> Option<String> {
    trace::current().map(|context| context.to_string()).or_else(|| input::text(headers, TRACEPARENT))
}

/// Tells the gateway which event of which outbox the answer stands behind.
fn with_position(mut answer: Response, (service, position): (&Service, u64)) -> Response {
    answer.headers_mut().insert(POSITION, HeaderValue::from(position));
    answer.headers_mut().insert(INCARNATION, service.incarnation.clone());
    answer
}
