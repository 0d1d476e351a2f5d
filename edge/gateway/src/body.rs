//! Bodies on their way: the client's towards an upstream, and the answer's towards the client. Both stream;
//! neither is buffered here. Trailers pass, except those that a reader might take for part of the head.

use bytes::Bytes;
use http::header::{self, HeaderMap};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;

use crate::access::Entry;
use crate::drained::Drained;
use crate::group::Place;
use crate::guard::BadBody;
use crate::headers;
use crate::ownership::WriteInFlight;
use crate::pool::Connection;
use crate::spawner::Spawner;

/// Why a body did not arrive whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// It is larger than `body_bytes_max`.
    #[error("the body is too large")]
    TooLarge,
    /// It made no progress for `body_idle_timeout_ms`.
    #[error("the body made no progress")]
    Idle,
    /// It is not framed as HTTP/1.1 says.
    #[error("the body is framed wrongly")]
    BadFraming,
    /// Its connection broke.
    #[error("the body ended early: {0}")]
    Broken(String),
}

impl From<hyper::Error> for BodyFault {
    fn from(error: hyper::Error) -> Self {
        match cause::<BadBody>(&error) {
            Some(_) => Self::BadFraming,
            None => Self::Broken(error.to_string()),
        }
    }
}

/// The error of this type beneath an error of hyper's.
pub fn cause<E: std::error::Error + 'static>(error: &hyper::Error) -> Option<&E> {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        // An I/O error shows what it wraps only when asked.
        let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let found = cause.downcast_ref().or_else(|| wrapped.and_then(|w| w.downcast_ref()));
        if found.is_some() {
            return found;
        }
        source = cause.source();
    }
    None
}

/// Fails a body that makes no progress.
struct IdleTimer {
    after: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    running: bool,
}

impl IdleTimer {
    fn new(after: Duration) -> Self {
        Self { after, sleep: None, running: false }
    }

    fn stop(&mut self) {
        self.running = false;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<BodyFault> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.after)));
        if !std::mem::replace(&mut self.running, true) {
            sleep.set(tokio::time::sleep(self.after));
        }
        sleep.as_mut().poll(cx).map(|()| BodyFault::Idle)
    }
}

/// The next piece of a body's data, or its trailers.
fn poll_piece(
    body: &mut Incoming,
    timer: &mut IdleTimer,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
    let Poll::Ready(polled) = Pin::new(&mut *body).poll_frame(cx) else {
        return timer.poll(cx).map(|fault| Some(Err(fault)));
    };
    timer.stop();
    Poll::Ready(polled.map(|frame| match frame {
        Ok(mut frame) => {
            if let Some(trailers) = frame.trailers_mut() {
                headers::trail(trailers);
            }
            Ok(frame)
        }
        Err(error) => Err(error.into()),
    }))
}

/// The limits of a client's body.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Its length in bytes.
    pub bytes_max: u64,
    /// How long it may make no progress.
    pub idle_max: Duration,
}

/// How many bytes of a body have been taken so far.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<AtomicU64>);

impl Progress {
    /// The count.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A client's body on its way to an upstream.
pub struct RequestBody {
    /// What has been read of it already.
    prefix: Bytes,
    rest: Option<Incoming>,
    left: u64,
    timer: IdleTimer,
    progress: Progress,
}

impl RequestBody {
    /// No body.
    pub fn empty() -> Self {
        Self::whole(Bytes::new())
    }

    /// A body that has been read already.
    pub fn whole(bytes: Bytes) -> Self {
        let timer = IdleTimer::new(Duration::ZERO);
        Self { prefix: bytes, rest: None, left: 0, timer, progress: Progress::default() }
    }

    /// The body of a request.
    pub fn stream(body: Incoming, limits: BodyLimits) -> Self {
        let timer = IdleTimer::new(limits.idle_max);
        let rest = (!body.is_end_stream()).then_some(body);
        Self { prefix: Bytes::new(), rest, left: limits.bytes_max, timer, progress: Progress::default() }
    }

    /// How far it has got; keeps counting while it is sent.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Whether all of it is here, so that it can be sent a second time.
    pub fn whole_bytes(&self) -> Option<&Bytes> {
        self.rest.is_none().then_some(&self.prefix)
    }

    /// Reads all of it, where it has at most that many bytes.
    ///
    /// # Errors
    /// It is longer, or does not arrive.
    pub async fn collect(mut self, bytes_max: usize) -> Result<Bytes, BodyFault> {
        if self.size_hint().lower() > bytes_max as u64 {
            return Err(BodyFault::TooLarge);
        }
        let mut all = Vec::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut self).poll_frame(cx)).await {
            if let Ok(data) = frame?.into_data() {
                all.extend_from_slice(&data);
            }
            if all.len() > bytes_max {
                return Err(BodyFault::TooLarge);
            }
        }
        Ok(all.into())
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = self.get_mut();
        if !this.prefix.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.prefix)))));
        }
        let Some(rest) = &mut this.rest else { return Poll::Ready(None) };
        let polled = ready!(poll_piece(rest, &mut this.timer, cx));
        if let Some(Ok(frame)) = &polled {
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            this.progress.0.fetch_add(length, Ordering::Relaxed);
            match this.left.checked_sub(length) {
                Some(left) => this.left = left,
                None => return Poll::Ready(Some(Err(BodyFault::TooLarge))),
            }
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.prefix.is_empty() && self.rest.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.rest {
            None => SizeHint::with_exact(self.prefix.len() as u64),
            Some(rest) => rest.size_hint(),
        }
    }
}

/// What an answer from an upstream occupies until it has been received whole.
pub struct Occupied {
    /// The connection that it comes over; goes back to its pool.
    pub connection: Connection,
    /// Its place in a group.
    pub place: Option<Place>,
    /// Its place among the writes in flight.
    pub write: Option<WriteInFlight>,
}

/// An answer's body on its way to the client.
pub struct AnswerBody {
    inner: Inner,
    entry: Option<Box<Entry>>,
}

enum Inner {
    Whole(Bytes),
    Stream(Box<Stream>),
}

struct Stream {
    /// `None` once all of it has been received, or it broke.
    source: Option<Source>,
    /// Runs the reception of a write's answer without the client; `None` where it is that already.
    spawner: Option<Spawner>,
}

struct Source {
    body: Incoming,
    timer: IdleTimer,
    /// The end of the time for a stream of events, which has no end of its own.
    cut: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    occupied: Occupied,
}

/// How fast an answer must come, and how long it may.
pub struct Pace {
    idle_max: Duration,
    events_idle_max: Duration,
    drained: Drained,
    is_of_events: bool,
}

impl Pace {
    /// By how long it may make no progress: any answer, and a stream of events.
    pub fn new((idle_max, events_idle_max): (Duration, Duration), drained: Drained) -> Self {
        Self { idle_max, events_idle_max, drained, is_of_events: false }
    }

    /// The pace of the answer with these headers. A stream of events (`text/event-stream`) may be silent for
    /// longer, and has its end where the gateway has its own: its reader connects anew and misses nothing.
    #[must_use]
    pub fn of(mut self, headers: &HeaderMap) -> Self {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        self.is_of_events = essence.eq_ignore_ascii_case("text/event-stream");
        self
    }
}

impl AnswerBody {
    /// A body of the gateway's own.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self { inner: Inner::Whole(bytes.into()), entry: None }
    }

    /// The body of an upstream's answer. A write's is received to its end also where the client goes away;
    /// `spawner` runs that.
    pub fn stream(body: Incoming, occupied: Occupied, pace: Pace, spawner: Spawner) -> Self {
        let Pace { idle_max, events_idle_max, drained, is_of_events } = pace;
        let timer = IdleTimer::new(if is_of_events { events_idle_max } else { idle_max });
        let cut = is_of_events.then(|| Box::pin(async move { drained.over().await }) as Pin<Box<_>>);
        let source = Source { body, timer, cut, occupied };
        let mut stream = Stream { source: Some(source), spawner: Some(spawner) };
        stream.notice_end();
        Self { inner: Inner::Stream(Box::new(stream)), entry: None }
    }

    /// Leaves out a body of the gateway's own.
    pub fn leave_out(&mut self) {
        if let Inner::Whole(bytes) = &mut self.inner {
            bytes.clear();
        }
    }

    /// Has the access log and the figures told when the answer ends.
    pub fn set_entry(&mut self, entry: Box<Entry>) {
        self.entry = Some(entry);
    }

    /// Reads all of it, where it has at most that many bytes.
    ///
    /// # Errors
    /// It is longer, or does not arrive.
    pub async fn collect(mut self, bytes_max: usize) -> Result<Bytes, BodyFault> {
        let mut all = Vec::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut self).poll_frame(cx)).await {
            all.extend_from_slice(&frame?.into_data().unwrap_or_default());
            if all.len() > bytes_max {
                return Err(BodyFault::TooLarge);
            }
        }
        Ok(all.into())
    }
}

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let Some(source) = &mut self.source else { return Poll::Ready(None) };
        if source.cut.as_mut().is_some_and(|cut| cut.as_mut().poll(cx).is_ready()) {
            self.source = None;
            return Poll::Ready(None);
        }
        let polled = ready!(poll_piece(&mut source.body, &mut source.timer, cx));
        match &polled {
            Some(Ok(_)) => self.notice_end(),
            Some(Err(_)) => self.source = None,
            None => self.received(),
        }
        Poll::Ready(polled)
    }

    fn notice_end(&mut self) {
        if self.source.as_ref().is_some_and(|s| s.body.is_end_stream()) {
            self.received();
        }
    }

    /// All has been received: places and connection are free, however long the client takes.
    fn received(&mut self) {
        if let Some(source) = self.source.take() {
            let Occupied { connection, place, write } = source.occupied;
            connection.give_back();
            drop((place, write));
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // The client has gone. A write counts until its answer has been received.
        if let (Some(source), Some(spawner)) = (self.source.take(), &self.spawner)
            && source.occupied.write.is_some()
        {
            let mut rest = Self { source: Some(source), spawner: None };
            spawner.spawn(async move { while let Some(Ok(_)) = poll_fn(|cx| rest.poll(cx)).await {} });
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = self.get_mut();
        let polled = match &mut this.inner {
            Inner::Whole(bytes) if bytes.is_empty() => None,
            Inner::Whole(bytes) => Some(Ok(Frame::data(std::mem::take(bytes)))),
            Inner::Stream(stream) => ready!(stream.poll(cx)),
        };
        if let Some(entry) = &mut this.entry {
            match &polled {
                Some(Ok(frame)) => entry.add_bytes(frame.data_ref().map_or(0, Bytes::len)),
                Some(Err(_)) => entry.broke(),
                None => {}
            }
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Whole(bytes) => bytes.is_empty(),
            Inner::Stream(stream) => stream.source.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Stream(stream) => match &stream.source {
                Some(source) => source.body.size_hint(),
                None => SizeHint::with_exact(0),
            },
        }
    }
}
