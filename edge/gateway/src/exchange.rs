//! One request to an upstream and the head of its answer.
//!
//! What was sent is never sent again. A request goes over a second connection only where the first certainly
//! carried none of it (hyper gives the request back), or where it is a GET or HEAD without a body and the
//! reused connection died before a byte of an answer: then the web server has closed an idle connection.

use http::{Method, Request, Response};
use hyper::body::Incoming;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use thiserror::Error;

use crate::body::{BodyFault, RequestBody, cause};
use crate::metrics::RECONNECTS;
use crate::pool::{Connection, Pool};
use crate::spawner::Spawner;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum Fault {
    /// The request was certainly not sent.
    #[error("cannot connect to {0}: {1}")]
    Unreachable(String, #[source] io::Error),
    /// The request may have been executed.
    #[error("the connection to {0} broke before the answer: {1}")]
    Lost(String, #[source] hyper::Error),
    /// The request may be executed still.
    #[error("{0} did not answer within {1:?}")]
    TimedOut(String, Duration),
    /// The client's body did not arrive whole.
    #[error("the request's body: {0}")]
    Body(#[source] BodyFault),
}

/// An upstream as seen from one worker.
#[derive(Clone)]
pub struct Upstream {
    /// Its connections.
    pub pool: Arc<Pool>,
    /// From the request's last byte to the head of the answer.
    pub answer_max: Duration,
}

impl Upstream {
    /// Sends the request; the answer's head, and the connection over which its body comes.
    ///
    /// # Errors
    /// See [`Fault`].
    pub async fn send(
        self,
        request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Connection), Fault> {
        let progress = request.body().progress();
        let streams = request.body().whole_bytes().is_none();
        let answer_max = self.answer_max;
        let pool = Arc::clone(&self.pool);
        let exchange = self.exchange(request);
        tokio::pin!(exchange);
        let mut seen = progress.bytes();
        loop {
            match tokio::time::timeout(answer_max, &mut exchange).await {
                Ok(outcome) => return outcome,
                // A body that still arrives has a timeout of its own.
                Err(_) if streams && progress.bytes() != seen => seen = progress.bytes(),
                Err(_) => return Err(Fault::TimedOut(pool.authority().as_str().to_owned(), answer_max)),
            }
        }
    }

    fn name(&self) -> String {
        self.pool.authority().as_str().to_owned()
    }

    async fn exchange(
        self,
        mut request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Connection), Fault> {
        let replay = replay_of(&request);
        if let Some(mut connection) = self.reuse(replay.is_some()).await {
            connection.count_request();
            match connection.sender.try_send_request(request).await {
                Ok(answer) => return Ok((answer, connection)),
                Err(mut failed) => {
                    let unsent = failed.take_message();
                    let error = failed.into_error();
                    // An answer that cannot be read is an answer.
                    let replay = replay.filter(|_| !error.is_parse());
                    let Some(again) = unsent.or_else(|| replay.map(Replay::request)) else {
                        return Err(self.fault(error));
                    };
                    RECONNECTS.inc();
                    request = again;
                }
            }
        }
        let connected = self.pool.connect().await;
        let mut connection = connected.map_err(|error| Fault::Unreachable(self.name(), error))?;
        connection.count_request();
        match connection.sender.send_request(request).await {
            Ok(answer) => Ok((answer, connection)),
            Err(error) => Err(self.fault(error)),
        }
    }

    /// An idle connection. For a request that cannot be repeated, the runtime looks at its sockets first, so
    /// that one which the upstream has closed is known to be closed.
    async fn reuse(&self, repeatable: bool) -> Option<Connection> {
        if !repeatable {
            tokio::task::yield_now().await;
        }
        self.pool.reuse()
    }

    fn fault(&self, error: hyper::Error) -> Fault {
        match cause::<BodyFault>(&error).cloned() {
            Some(fault) => Fault::Body(fault),
            None => Fault::Lost(self.name(), error),
        }
    }
}

/// A request that may be sent twice.
struct Replay(http::request::Parts);

impl Replay {
    fn request(self) -> Request<RequestBody> {
        Request::from_parts(self.0, RequestBody::empty())
    }
}

fn replay_of(request: &Request<RequestBody>) -> Option<Replay> {
    let plain = matches!(*request.method(), Method::GET | Method::HEAD)
        && request.body().whole_bytes().is_some_and(|b| b.is_empty());
    if !plain {
        return None;
    }
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = request.method().clone();
    parts.uri = request.uri().clone();
    parts.headers = request.headers().clone();
    Some(Replay(parts))
}

/// An exchange that goes on when nobody waits for it any more: the upstream's worker does, and its place must
/// be kept until it has answered.
pub struct Detached<F: Future<Output: Send> + Send + 'static> {
    exchange: Option<Pin<Box<F>>>,
    spawner: Spawner,
}

impl<F: Future<Output: Send> + Send + 'static> Detached<F> {
    /// Wraps an exchange; `spawner` runs it where its client goes away.
    pub fn new(exchange: F, spawner: Spawner) -> Self {
        Self { exchange: Some(Box::pin(exchange)), spawner }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for Detached<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(exchange) = &mut self.exchange else { return Poll::Pending };
        let polled = exchange.as_mut().poll(cx);
        if polled.is_ready() {
            self.exchange = None;
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Detached<F> {
    fn drop(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            self.spawner.spawn(async move {
                drop(exchange.await);
            });
        }
    }
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
