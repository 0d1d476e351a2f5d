//! The payment provider: a small process of its own, with scriptable latency, hangs and failures.
//!
//! `POST /charges` takes about `latency_ms` and answers 200, or 402 where the amount ends in `.13`. In mode
//! `hang` it accepts and reads requests and never answers them; when the mode ends their connections are
//! closed. In mode `fail` it answers 500. Whatever it captures stands in `GET /charges`, its own list.

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::options::ProviderOptions;

/// The largest request body that is read.
const BODY_BYTES_MAX: usize = 64 << 10;

/// How the provider behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Answers.
    Normal,
    /// Accepts and never answers.
    Hang,
    /// Answers 500.
    Fail,
}

/// `GET` and `PUT /control`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// How it behaves.
    pub mode: Mode,
    /// How long a charge takes, in milliseconds.
    pub latency_ms: u64,
    /// How many requests hang now; ignored by `PUT`.
    #[serde(default)]
    pub hanging: usize,
}

/// One captured charge (`GET /charges`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// The provider's id.
    pub id: String,
    /// The amount as it was asked for.
    pub amount: String,
    /// The currency.
    pub currency: String,
    /// The client's reference.
    pub reference: Option<String>,
}

#[derive(Deserialize)]
struct ChargeRequest {
    amount: String,
    currency: String,
    reference: Option<String>,
}

struct Provider {
    control: watch::Sender<Control>,
    charges: Mutex<Vec<Charge>>,
    chance: Mutex<StdRng>,
}

/// The request gets no answer: its connection is closed.
#[derive(Debug)]
struct Hangup;

impl std::fmt::Display for Hangup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("closed without an answer")
    }
}

impl std::error::Error for Hangup {}

type Answer = Response<Full<Bytes>>;

/// Serves until the process is ended.
///
/// # Errors
/// The port cannot be listened on.
pub async fn serve(options: ProviderOptions) -> anyhow::Result<()> {
    let address = ("127.0.0.1", options.port);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("the payment provider cannot listen on port {}", options.port))?;
    accept(listener, &options).await
}

async fn accept(listener: TcpListener, options: &ProviderOptions) -> anyhow::Result<()> {
    let start = Control { mode: Mode::Normal, latency_ms: options.latency_ms, hanging: 0 };
    let provider = Arc::new(Provider {
        control: watch::channel(start).0,
        charges: Mutex::default(),
        chance: Mutex::new(StdRng::seed_from_u64(options.seed)),
    });
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        while connections.try_join_next().is_some() {}
        let provider = provider.clone();
        connections.spawn(async move {
            let answer = service_fn(move |request| {
                let provider = provider.clone();
                async move { provider.answer(request).await }
            });
            // An error is a client that went away, or a hangup of ours.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

impl Provider {
    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Hangup> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|_| Hangup)?.to_bytes();
        match (&head.method, head.uri.path()) {
            (&Method::POST, "/charges") => self.charge(&body).await,
            (&Method::GET, "/charges") => Ok(json(StatusCode::OK, &*lock(&self.charges))),
            (&Method::GET, "/control") => Ok(json(StatusCode::OK, &*self.control.borrow())),
            (&Method::PUT, "/control") => Ok(self.set(&body)),
            _ => Ok(json(StatusCode::NOT_FOUND, &json!({ "error": "not_found" }))),
        }
    }

    fn set(&self, body: &[u8]) -> Answer {
        #[derive(Deserialize)]
        struct Wish {
            mode: Option<Mode>,
            latency_ms: Option<u64>,
        }
        let wish: Wish = match serde_json::from_slice(body) {
            Ok(wish) => wish,
            Err(error) => return json(StatusCode::BAD_REQUEST, &json!({ "error": error.to_string() })),
        };
        self.control.send_modify(|control| {
            control.mode = wish.mode.unwrap_or(control.mode);
            control.latency_ms = wish.latency_ms.unwrap_or(control.latency_ms);
        });
        json(StatusCode::OK, &*self.control.borrow())
    }

    async fn charge(&self, body: &[u8]) -> Result<Answer, Hangup> {
        let Ok(wanted) = serde_json::from_slice::<ChargeRequest>(body) else {
            return Ok(json(StatusCode::UNPROCESSABLE_ENTITY, &json!({ "error": "invalid" })));
        };
        let Control { mode, latency_ms, .. } = *self.control.borrow();
        match mode {
            Mode::Hang => {
                self.hang().await;
                return Err(Hangup);
            }
            Mode::Fail => return Ok(json(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": "down" }))),
            Mode::Normal => {}
        }
        let jitter = lock(&self.chance).random_range(0.5..=1.5);
        tokio::time::sleep(Duration::from_secs_f64(latency_ms as f64 * jitter / 1000.0)).await;
        if wanted.amount.ends_with(".13") {
            return Ok(json(StatusCode::PAYMENT_REQUIRED, &json!({ "error": "declined" })));
        }
        let mut charges = lock(&self.charges);
        let id = format!("ch_{:08}", charges.len() + 1);
        let ChargeRequest { amount, currency, reference } = wanted;
        charges.push(Charge { id: id.clone(), amount, currency, reference });
        Ok(json(StatusCode::OK, &json!({ "id": id, "status": "captured" })))
    }

    async fn hang(&self) {
        /// Counts a hanging request out, also when its client goes away.
        struct Counted<'p>(&'p watch::Sender<Control>);
        impl Drop for Counted<'_> {
            fn drop(&mut self) {
                self.0.send_modify(|control| control.hanging -= 1);
            }
        }
        self.control.send_modify(|control| control.hanging += 1);
        let _counted = Counted(&self.control);
        // An error means that the process is ending: a hangup as well.
        let _ = self.control.subscribe().wait_for(|control| control.mode != Mode::Hang).await;
    }
}

fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Answer {
    let text = serde_json::to_vec(value).expect("plain values become JSON");
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    answer
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "provider_tests.rs"]
mod tests;
