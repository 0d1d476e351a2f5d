//! Runs a capability's coordinator: executes its effects, feeds their answers back, tells what it waits for.
//!
//! One task per capability. A commit that the disk refuses is tried again until it is durable. Where the
//! journal has gone to a later control the task fails, and the process stops with it. At shutdown no new
//! attempt begins; one that runs gets a few seconds to end, and is restored or finished at the next start
//! if it does not.

use crate::coordinator::effect::{Answer, Commit, Effect, EffectId, Input, Now, WishId};
use crate::coordinator::wish::{Rejection, Wish};
use crate::coordinator::{Coordinator, Start};
use crate::error::Fault;
use crate::grants::Grants;
use crate::journal::{self, Journal};
use crate::lease::LeaseView;
use crate::metrics;
use crate::peers::Peers;
use banyan_core::protocol::migration::MigrationStatus;
use banyan_runtime::clock::{self, Boot};
use banyan_runtime::failpoints;
use banyan_runtime::tasks::Shutdown;
use std::collections::HashMap;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// How many wishes wait before those who wish have to.
const WISHES_MAX: usize = 32;
/// How long an attempt that runs at shutdown gets.
const FINISH_MAX: Duration = Duration::from_secs(5);
/// The pause before a commit is tried again.
const COMMIT_BACKOFF: Duration = Duration::from_millis(100);

/// What a driver works with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The journal.
    pub journal: Journal,
    /// The leases.
    pub grants: Grants,
    /// Sync and the service.
    pub peers: Peers,
    /// The request to end.
    pub shutdown: Shutdown,
}

/// How others reach a driver.
#[derive(Clone, Debug)]
pub struct Handle {
    wishes: mpsc::Sender<Wished>,
    status: watch::Receiver<Arc<MigrationStatus>>,
}

/// Runs one coordinator.
pub struct Driver {
    parts: Parts,
    coordinator: Coordinator,
    wishes: mpsc::Receiver<Wished>,
    wishes_seen: u64,
    asking: HashMap<WishId, oneshot::Sender<Result<(), Rejection>>>,
    call: Option<Running<(EffectId, Answer)>>,
    commit: Option<Running<Committed>>,
    view: LeaseView,
    status: watch::Sender<Arc<MigrationStatus>>,
}

type Wished = (Wish, oneshot::Sender<Result<(), Rejection>>);
type Running<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Committed = (EffectId, Result<u64, journal::Fault>);

enum Event {
    Wished(Option<Wished>),
    Answered((EffectId, Answer)),
    Committed(Committed),
    News,
    Ending,
}

impl Handle {
    /// Where the migration stands.
    pub fn status(&self) -> watch::Receiver<Arc<MigrationStatus>> {
        self.status.clone()
    }

    /// Makes a wish; answered when it is durable.
    ///
    /// # Errors
    /// The wish is refused, or control is shutting down.
    pub async fn wish(&self, wish: Wish) -> Result<(), Fault> {
        let (answer, answered) = oneshot::channel();
        self.wishes.send((wish, answer)).await.map_err(|_| Fault::Ending)?;
        Ok(answered.await.map_err(|_| Fault::Ending)??)
    }
}

impl Driver {
    /// A driver, and how to reach it.
    pub fn new(start: Start, parts: Parts) -> (Self, Handle) {
        let (coordinator, effects) = Coordinator::new(start, now());
        let (wishes, wished) = mpsc::channel(WISHES_MAX);
        let (publish, status) = watch::channel(Arc::new(coordinator.status(now())));
        let mut driver = Self {
            parts,
            coordinator,
            wishes: wished,
            wishes_seen: 0,
            asking: HashMap::new(),
            call: None,
            commit: None,
            view: LeaseView::default(),
            status: publish,
        };
        metrics::stands(&driver.status.borrow());
        driver.execute(effects);
        (driver, Handle { wishes, status })
    }

    /// Runs until shutdown.
    ///
    /// # Errors
    /// The journal is gone, or belongs to a later control.
    pub async fn run(mut self) -> Result<(), journal::Fault> {
        let mut changes = self.parts.grants.changes();
        let mut ending: Option<Boot> = None;
        loop {
            let expiry = self.look_at_leases(&mut changes);
            if let Some(deadline) = ending
                && (!self.coordinator.is_busy() || deadline <= Boot::now())
            {
                return Ok(());
            }
            let due = [self.coordinator.wake_at(Boot::now()), expiry, ending].into_iter().flatten().min();
            let shutdown = self.parts.shutdown.clone();
            let event = tokio::select! {
                answer = running(&mut self.call) => Event::Answered(answer),
                committed = running(&mut self.commit) => Event::Committed(committed),
                _ = changes.changed() => Event::News,
                wished = self.wishes.recv(), if ending.is_none() => Event::Wished(wished),
                () = until(due) => Event::News,
                () = shutdown.requested(), if ending.is_none() => Event::Ending,
            };
            match event {
                Event::Ending => {
                    self.wishes.close();
                    ending = Some(Boot::now().plus(FINISH_MAX));
                }
                Event::Wished(None) => return Ok(()),
                event => self.handle(event)?,
            }
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), journal::Fault> {
        let input = match event {
            Event::Answered((id, answer)) => {
                self.call = None;
                Input::Answered { id, answer }
            }
            Event::Committed((id, Ok(version))) => {
                self.commit = None;
                Input::Committed { id, version }
            }
            Event::Committed((_, Err(fault))) => {
                self.step(Input::Deposed);
                return Err(fault);
            }
            Event::Wished(Some((wish, answer))) => {
                self.wishes_seen += 1;
                let id = WishId(self.wishes_seen);
                self.asking.insert(id, answer);
                Input::Wish(id, wish)
            }
            Event::Wished(None) | Event::News | Event::Ending => Input::Tick,
        };
        self.step(input);
        Ok(())
    }

    /// The coordinator sees the leases as they are now before it decides anything.
    fn look_at_leases(&mut self, changes: &mut watch::Receiver<u64>) -> Option<Boot> {
        changes.mark_unchanged();
        let (view, expiry) = self.parts.grants.view(&self.parts.peers.capability);
        if view != self.view {
            self.view = view.clone();
            self.step(Input::Leases(view));
        }
        expiry
    }

    fn step(&mut self, input: Input) {
        // A lease that was granted while a commit was under way decides what follows from the commit.
        let (view, _) = self.parts.grants.view(&self.parts.peers.capability);
        if view != self.view {
            self.view = view.clone();
            let effects = self.coordinator.step(now(), Input::Leases(view));
            self.execute(effects);
        }
        let effects = self.coordinator.step(now(), input);
        self.execute(effects);
        let status = Arc::new(self.coordinator.status(now()));
        metrics::stands(&status);
        self.status.send_if_modified(|known| {
            let changed = **known != *status;
            *known = status;
            changed
        });
    }

    fn execute(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Call { id, call } => {
                    let (step, answer) = (call.step(), self.parts.peers.call(call));
                    self.call = Some(Box::pin(async move {
                        failpoints::before("control", step);
                        let answer = answer.await;
                        failpoints::after("control", step);
                        (id, answer)
                    }));
                }
                Effect::Commit { id, commit } => {
                    let (journal, name) = (self.parts.journal.clone(), self.parts.peers.capability.clone());
                    let durable = commit_until_durable(journal, name, Arc::from(commit));
                    self.commit = Some(Box::pin(async move { (id, durable.await) }));
                }
                Effect::Settle(id, outcome) => {
                    if let Some(answer) = self.asking.remove(&id) {
                        // Who asked may have gone.
                        let _ = answer.send(outcome);
                    }
                }
            }
        }
    }
}

async fn commit_until_durable(
    journal: Journal,
    capability: String,
    commit: Arc<Commit>,
) -> Result<u64, journal::Fault> {
    loop {
        failpoints::before("control", commit.step);
        match journal.commit(&capability, Arc::clone(&commit), clock::unix_ms()).await {
            Err(journal::Fault::Database(error)) => {
                tracing::error!(capability, %error, "the journal does not commit; trying again");
                tokio::time::sleep(COMMIT_BACKOFF).await;
            }
            Ok(version) => {
                failpoints::after("control", commit.step);
                metrics::version(version);
                if let Some(report) = &commit.report {
                    tracing::info!(
                        capability,
                        owner_epoch = report.owner_epoch.0,
                        outcome = ?report.outcome,
                        to = %report.to,
                        buckets = report.buckets.len(),
                        left = report.left.len(),
                        hold_ms = report.hold_ms,
                        causes = report.causes.join("; "),
                        "handover"
                    );
                    metrics::ended(report);
                }
                return Ok(version);
            }
            Err(fault) => return Err(fault),
        }
    }
}

async fn running<T>(slot: &mut Option<Running<T>>) -> T {
    match slot {
        Some(future) => future.await,
        None => pending().await,
    }
}

async fn until(due: Option<Boot>) {
    match due {
        Some(due) => tokio::time::sleep(due.since(Boot::now())).await,
        None => pending().await,
    }
}

fn now() -> Now {
    Now { boot: Boot::now(), unix_ms: clock::unix_ms() }
}
