//! The monolith and the service: answer, count, and look whether a write is theirs.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use axum::routing::{any, get};
use banyan_core::Side;
use futures_util::StreamExt as _;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

use crate::load::USER;
use crate::peers::Control;

/// One of the two.
#[derive(Clone)]
pub struct Origin {
    side: Side,
    control: Control,
    writes: Arc<AtomicUsize>,
    strays: Arc<Mutex<Vec<String>>>,
    gate: watch::Sender<bool>,
}

impl Origin {
    /// The one of this side.
    pub fn new(side: Side, control: &Control) -> Self {
        let gate = watch::channel(false).0;
        Self { side, control: control.clone(), writes: Arc::default(), strays: Arc::default(), gate }
    }

    /// Its routes: `/events` streams until the gate opens, `/hang` answers when it does, everything else answers
    /// with the side's name.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/events", get(events))
            .route("/hang", any(hang))
            .route("/api/notifications", axum::routing::post(write))
            .fallback(name)
            .with_state(self.clone())
    }

    /// Lets what hangs go on.
    pub fn open_gate(&self) {
        self.gate.send_replace(true);
    }

    /// How many writes of the capability have come.
    pub fn writes(&self) -> usize {
        self.writes.load(SeqCst)
    }

    /// Writes that came while the other side owned them.
    pub fn strays(&self) -> Vec<String> {
        self.strays.lock().unwrap().clone()
    }

    fn note(&self, when: &str) {
        let holding = self.control.owner(USER);
        if holding.owner != self.side {
            self.strays.lock().unwrap().push(format!("{when}: {:?} at {:?}", holding, self.side));
        }
    }
}

async fn name(State(origin): State<Origin>) -> &'static str {
    match origin.side {
        Side::Monolith => "monolith",
        Side::Service => "service",
    }
}

async fn hang(State(origin): State<Origin>) -> &'static str {
    let _ = origin.gate.subscribe().wait_for(|open| *open).await;
    "after the gate"
}

async fn write(State(origin): State<Origin>) -> &'static str {
    origin.note("arrived");
    origin.writes.fetch_add(1, SeqCst);
    // Long enough that freezes find writes in flight.
    tokio::time::sleep(Duration::from_millis(3)).await;
    origin.note("answered");
    "written"
}

async fn events(State(origin): State<Origin>) -> Response {
    let gate = origin.gate.subscribe();
    let events = futures_util::stream::unfold((0_u64, gate), |(number, gate)| async move {
        if *gate.borrow() {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        Some((Bytes::from(format!("data: {number}\n\n")), (number + 1, gate)))
    });
    let body = Body::from_stream(events.map(Ok::<_, std::io::Error>));
    Response::builder().header("content-type", "text/event-stream").body(body).unwrap()
}
