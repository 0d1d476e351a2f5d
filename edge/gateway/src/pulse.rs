//! What goes on in a connection of HTTP/2, seen from outside of its streams: whether any is open, how many
//! were given up, and whether an answer is taken.
//!
//! hyper waits for a client's window without a bound, and asks the body for nothing meanwhile. So a body says
//! when it has given a piece, and a stream that is not asked for the next one in time is dropped, which resets
//! it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};
use std::{future::poll_fn, pin::Pin};
use tokio::sync::watch;

use banyan_runtime::clock;

tokio::task_local! {
    static CURRENT: Pulse;
}

/// The state of one stream's answer.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<Beat>);

#[derive(Debug, Default)]
struct Beat {
    given: AtomicU64,
    /// The body has given its last piece to the client's window, and waits to be asked for the next one.
    waits: AtomicBool,
}

impl Pulse {
    /// Of a stream that has no answer yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The one of the stream whose task this is.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// The body is asked for its next piece.
    pub fn asked(&self) {
        self.0.waits.store(false, Ordering::Relaxed);
    }

    /// The body has given a piece.
    pub fn given(&self) {
        self.0.given.fetch_add(1, Ordering::Relaxed);
        self.0.waits.store(true, Ordering::Relaxed);
    }

    /// Runs a stream; whether it ended before a piece was not taken for that long.
    pub async fn watch(
        self,
        mut stream: Pin<Box<dyn Future<Output = ()> + Send>>,
        stall_max: Duration,
    ) -> bool {
        let beat = self.0.clone();
        let mut timer: Option<(u64, Pin<Box<tokio::time::Sleep>>)> = None;
        let watched = poll_fn(move |cx| {
            if stream.as_mut().poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            if !beat.waits.load(Ordering::Relaxed) {
                timer = None;
                return Poll::Pending;
            }
            let given = beat.given.load(Ordering::Relaxed);
            let begin = || (given, Box::pin(tokio::time::sleep(stall_max)));
            if timer.as_ref().is_none_or(|(of, _)| *of != given) {
                timer = Some(begin());
            }
            let (_, sleep) = timer.get_or_insert_with(begin);
            sleep.as_mut().poll(cx).map(|()| false)
        });
        CURRENT.scope(self, watched).await
    }
}

/// What all streams of one connection do.
#[derive(Debug)]
pub struct Activity {
    open: watch::Sender<Open>,
    /// Streams given up beyond those that were finished.
    given_up: AtomicU32,
    given_up_max: u32,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    streams: usize,
    since: Instant,
    given_up_too_often: bool,
}

/// One exchange on a stream, from its head to the end of its answer.
#[derive(Debug)]
pub struct Exchange {
    activity: Arc<Activity>,
    finished: bool,
}

impl Activity {
    /// Of a connection on which a client may give up so many more requests than it finishes.
    pub fn new(given_up_max: u32) -> Self {
        let open = Open { streams: 0, since: clock::instant(), given_up_too_often: false };
        Self { open: watch::channel(open).0, given_up: AtomicU32::new(0), given_up_max }
    }

    /// A request has come.
    pub fn begin(self: &Arc<Self>) -> Exchange {
        self.open.send_modify(|open| open.streams += 1);
        Exchange { activity: self.clone(), finished: false }
    }

    /// Resolves once no stream has been open for that long.
    pub async fn idle_for(&self, idle_max: Duration) {
        let mut open = self.open.subscribe();
        loop {
            let Open { streams, since, .. } = *open.borrow_and_update();
            let left = idle_max.saturating_sub(since.elapsed());
            if streams == 0 && left.is_zero() {
                return;
            }
            let wait = if streams == 0 { left } else { Duration::MAX };
            // A change means to look again; so does the end of the wait.
            let _ = tokio::time::timeout(wait, open.changed()).await;
        }
    }

    /// Resolves once the client has given up too many requests.
    pub async fn given_up_too_often(&self) {
        // This object holds the sender.
        let _ = self.open.subscribe().wait_for(|open| open.given_up_too_often).await;
    }
}

impl Exchange {
    /// The answer has been given whole.
    pub fn finish(&mut self) {
        self.finished = true;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let Activity { open, given_up, given_up_max } = &*self.activity;
        let count =
            |now: u32| Some(if self.finished { now.saturating_sub(1) } else { now.saturating_add(1) });
        let before = given_up.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count).unwrap_or(0);
        let too_often = !self.finished && before >= *given_up_max;
        open.send_modify(|open| {
            open.streams -= 1;
            open.since = clock::instant();
            open.given_up_too_often |= too_often;
        });
    }
}
