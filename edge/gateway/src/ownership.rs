//! The one shared state of ownership and its shell: carries out what `state.rs` decides.
//!
//! One lock for all workers: when a table has been taken over, every request that is decided afterwards goes
//! by it, on every worker. A request that waits is woken by the effect that ends its hold; one that goes away
//! gives back whatever it had been granted.

use banyan_core::protocol::migration::Quantiles;
use banyan_core::{OwnerEpoch, Side};
use banyan_runtime::clock::Boot;
use banyan_runtime::failpoints;
use banyan_runtime::quantiles::Samples;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

use crate::metrics::{HELD, HOLD_SECONDS};
use crate::state::{Admission, Ask, Effect, Grant, HeldId, Input, Limits, Refusal, Report, State, WriteId};

/// The state and who waits for it.
#[derive(Debug)]
pub struct Ownership {
    inner: Mutex<Inner>,
    hold_ms: Samples,
    news: Notify,
}

#[derive(Debug)]
struct Inner {
    state: State,
    waiting: HashMap<HeldId, oneshot::Sender<Result<Admission, Refusal>>>,
    drained_write_max: Duration,
}

/// `GET /v1/holds`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Holds {
    /// How long requests were held, in milliseconds.
    pub hold_ms: Quantiles,
    /// The slowest write in flight that a freeze had to wait for, in milliseconds.
    pub drained_write_ms_max: f64,
    /// How many requests are held now.
    pub held: usize,
}

/// A request that goes on. An admitted write counts as in flight until this is dropped.
#[derive(Debug)]
pub struct Admitted {
    /// Where to.
    pub side: Side,
    /// The owner's epoch.
    pub owner_epoch: OwnerEpoch,
    /// The version of the table by which it goes on.
    pub version: u64,
    /// Its place among the writes in flight.
    pub write: Option<WriteInFlight>,
}

/// A write in flight: until its whole answer has been received or its exchange has failed, and until the answer
/// may leave. It ends with the last of its clones.
#[derive(Clone, Debug)]
pub struct WriteInFlight {
    _flight: Arc<Flight>,
}

#[derive(Debug)]
struct Flight {
    ownership: Arc<Ownership>,
    id: WriteId,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.ownership.run(Input::Finished(self.id));
    }
}

/// A hold; gives its place back when the request goes away.
struct Hold {
    ownership: Arc<Ownership>,
    id: HeldId,
    outcome: oneshot::Receiver<Result<Admission, Refusal>>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut inner = self.ownership.lock();
        if inner.waiting.remove(&self.id).is_some() {
            Ownership::carry_out(&self.ownership, &mut inner, Input::Left(self.id));
        } else if let Ok(Ok(Admission { write: Some(write), .. })) = self.outcome.try_recv() {
            // Released in the moment in which it went away: nobody will send this write.
            Ownership::carry_out(&self.ownership, &mut inner, Input::Finished(write));
        }
    }
}

impl Ownership {
    /// No lease yet.
    pub fn new(limits: Limits) -> Arc<Self> {
        let inner =
            Inner { state: State::new(limits), waiting: HashMap::new(), drained_write_max: Duration::ZERO };
        Arc::new(Self { inner: Mutex::new(inner), hold_ms: Samples::new(), news: Notify::new() })
    }

    /// Decides on a request, waiting while it is held.
    ///
    /// # Errors
    /// It is refused.
    pub async fn admit(self: &Arc<Self>, ask: Ask) -> Result<Admitted, Refusal> {
        let (mut hold, until) = match self.ask(ask) {
            Asked::Admitted(admission) => return Ok(self.admitted(admission)),
            Asked::Refused(refusal) => return Err(refusal),
            Asked::Held(hold, until) => (hold, until),
        };
        failpoints::before("gateway", "hold");
        loop {
            let left = until.since(Boot::now()).max(Duration::from_millis(1));
            tokio::select! {
                biased;
                outcome = &mut hold.outcome => {
                    failpoints::after("gateway", "hold");
                    return outcome.unwrap_or(Err(Refusal::HoldLimit)).map(|a| self.admitted(a));
                }
                () = tokio::time::sleep(left) => self.run(Input::Tick),
            }
        }
    }

    /// Takes over what control granted.
    pub fn granted(self: &Arc<Self>, grant: Grant) {
        self.run(Input::Granted(grant));
        self.news.notify_waiters();
    }

    /// Resolves when there is a valid lease and a table.
    pub async fn ready(&self) {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            if self.is_leased() && self.report().seen_version > 0 {
                return;
            }
            news.await;
        }
    }

    /// Bounds holds otherwise from now on; what is held already is held as long as it was told.
    pub fn set_limits(&self, limits: Limits) {
        self.lock().state.set_limits(limits);
    }

    /// What to tell control.
    pub fn report(&self) -> Report {
        self.lock().state.report()
    }

    /// Whether the lease is valid.
    pub fn is_leased(&self) -> bool {
        self.lock().state.is_leased(Boot::now())
    }

    /// How requests were held.
    pub fn holds(&self) -> Holds {
        let (drained, held) = {
            let inner = self.lock();
            (inner.drained_write_max, inner.state.held_count())
        };
        Holds { hold_ms: self.hold_ms.quantiles(), drained_write_ms_max: milliseconds(drained), held }
    }

    fn admitted(self: &Arc<Self>, admission: Admission) -> Admitted {
        let Admission { side, owner_epoch, version, write } = admission;
        let write =
            write.map(|id| WriteInFlight { _flight: Arc::new(Flight { ownership: self.clone(), id }) });
        Admitted { side, owner_epoch, version, write }
    }

    fn ask(self: &Arc<Self>, ask: Ask) -> Asked {
        let mut inner = self.lock();
        match inner.state.step(Boot::now(), Input::Admit(ask)).pop() {
            Some(Effect::Admitted(admission)) => Asked::Admitted(admission),
            Some(Effect::Held(id, until)) => {
                let (sender, outcome) = oneshot::channel();
                inner.waiting.insert(id, sender);
                HELD.set(inner.state.held_count() as i64);
                Asked::Held(Hold { ownership: self.clone(), id, outcome }, until)
            }
            Some(Effect::Refused(refusal)) => Asked::Refused(refusal),
            other => unreachable!("an ask is admitted, held or refused, not {other:?}"),
        }
    }

    fn run(&self, input: Input) {
        let mut inner = self.lock();
        Self::carry_out(self, &mut inner, input);
    }

    fn carry_out(&self, inner: &mut Inner, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for effect in inner.state.step(Boot::now(), input) {
                match effect {
                    Effect::Released(id, admission, held) => {
                        self.hold_ms.record_ms(milliseconds(held));
                        HOLD_SECONDS.observe(held.as_secs_f64());
                        let unsent = inner.waiting.remove(&id).is_none_or(|w| w.send(Ok(admission)).is_err());
                        if unsent && let Some(write) = admission.write {
                            inputs.push(Input::Finished(write));
                        }
                    }
                    Effect::Expired(id) => {
                        // A request that has gone away needs no answer.
                        let _ = inner.waiting.remove(&id).map(|w| w.send(Err(Refusal::HoldLimit)));
                    }
                    Effect::Drained(took) => inner.drained_write_max = inner.drained_write_max.max(took),
                    Effect::Admitted(_) | Effect::Held(..) | Effect::Refused(_) => {
                        unreachable!("only an ask is answered so")
                    }
                }
            }
        }
        HELD.set(inner.state.held_count() as i64);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Asked {
    Admitted(Admission),
    Held(Hold, Boot),
    Refused(Refusal),
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
