//! An upstream: answers what a test asks for, and remembers every request.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use banyan_runtime::http::serve;
use banyan_runtime::tasks::{OnError, Tasks};
use futures_util::StreamExt as _;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A scripted answer: status, headers, body.
type Script = (StatusCode, Vec<(&'static str, String)>, String);

/// The upstream.
#[derive(Clone)]
pub struct Origin {
    pub address: SocketAddr,
    name: &'static str,
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Mutex<Vec<Script>>>,
    gate: watch::Sender<bool>,
    events: Arc<Mutex<Vec<mpsc::UnboundedSender<Bytes>>>>,
}

impl Origin {
    /// Starts it. It answers with its name, `/echo` with the request's body as it streams in, `/large` with
    /// as many bytes as the query says, any path with `hang` in it only when the gate is open, and one with
    /// `trickle` at once, but to its end only then, and one with `events` as a stream of events.
    pub async fn start(name: &'static str, tasks: &Tasks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gate = watch::channel(false).0;
        let (seen, script, events) = (Arc::default(), Arc::default(), Arc::default());
        let origin = Self { address, name, seen, script, gate, events };
        let router = Router::new().fallback(answer).with_state(origin.clone());
        tasks.spawn("origin", OnError::Log, serve(listener, router, tasks.shutdown()));
        origin
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What has arrived so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The newest request.
    pub fn last(&self) -> Seen {
        self.seen().pop().expect("a request has arrived")
    }

    /// Answers the next request so, once.
    pub fn script(&self, status: u16, headers: &[(&'static str, &str)], body: &str) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.script.lock().unwrap().insert(0, (StatusCode::from_u16(status).unwrap(), headers, body.into()));
    }

    /// Sends an event to every open stream of events; how many there are.
    pub fn event(&self, text: &str) -> usize {
        let mut open = self.events.lock().unwrap();
        let event = Bytes::from(format!("data: {text}\n\n"));
        open.retain(|stream| stream.send(event.clone()).is_ok());
        open.len()
    }

    async fn gate_opens(&self) {
        let _ = self.gate.subscribe().wait_for(|open| *open).await;
    }

    /// Lets requests that hang go on, or has them hang again.
    pub fn open_gate(&self, open: bool) {
        self.gate.send_replace(open);
    }
}

async fn answer(State(origin): State<Origin>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let mut seen =
        Seen { method: head.method, target: head.uri.to_string(), headers: head.headers, body: Bytes::new() };
    if path.starts_with("/echo") {
        origin.seen.lock().unwrap().push(seen);
        return Response::new(body);
    }
    let whole = body.collect().await;
    seen.body = whole.map(|b| b.to_bytes()).unwrap_or_default();
    origin.seen.lock().unwrap().push(seen);
    if path.contains("hang") {
        origin.gate_opens().await;
    }
    if path.contains("events") {
        let (sender, stream) = mpsc::unbounded_channel();
        origin.events.lock().unwrap().push(sender);
        let stream = futures_util::stream::unfold(stream, |mut stream| async move {
            Some((Ok::<_, std::io::Error>(stream.recv().await?), stream))
        });
        return ([("content-type", "text/event-stream; charset=utf-8")], Body::from_stream(stream))
            .into_response();
    }
    if path.contains("trickle") {
        let pieces = futures_util::stream::iter(["begun", "ended"]).then(move |piece| {
            let origin = origin.clone();
            async move {
                if piece == "ended" {
                    origin.gate_opens().await;
                }
                Ok::<_, std::io::Error>(piece)
            }
        });
        return Response::new(Body::from_stream(pieces));
    }
    if let Some((status, headers, body)) = origin.script.lock().unwrap().pop() {
        let mut answer = (status, body).into_response();
        for (name, value) in headers {
            answer.headers_mut().insert(name, value.parse().unwrap());
        }
        return answer;
    }
    if path == "/large" {
        let count: usize = head.uri.query().unwrap().parse().unwrap();
        let piece = Bytes::from(vec![b'x'; 64 << 10]);
        let pieces = (0..count).map(move |_| Ok::<_, std::io::Error>(piece.clone()));
        return Response::new(Body::from_stream(futures_util::stream::iter(pieces)));
    }
    origin.name.into_response()
}
