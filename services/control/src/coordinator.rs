//! The handover coordinator of one capability: `(state, input) -> (state, effects)`, pure.
//!
//! Map: [`effect`] what goes in and out; [`durable`] what the journal keeps; [`wish`] what operators wish;
//! `prepare` from a wish to a freeze; `attempt` from the freeze to the flip; `finish` open, restore, end;
//! `recover` after a start; `commits` what is journalled; `status` and `words` what people read.
//!
//! Invariants: at most one call and one commit are open; an answer counts only for the effect that waits for
//! it; every command carries a turn above all before it; a failure before the flip restores, a failure after
//! it is tried again until it is done. A guard that refuses a command of the newest turn means that another
//! coordinator has taken over: this one stops and says so.

mod attempt;
mod commits;
pub mod durable;
pub mod effect;
mod finish;
pub mod limits;
mod prepare;
mod recover;
mod status;
mod timing;
pub mod wish;
mod words;

#[cfg(test)]
mod model;

use banyan_core::protocol::migration::HandoverReport;
use banyan_core::protocol::monolith::{Direction, GatesRelease, GatesTake, MarkWait};
use banyan_core::protocol::target::OwnershipClose;
use banyan_core::row::FenceOwner;
use banyan_core::{BucketSet, OwnerEpoch, Side, Turn};
use banyan_runtime::clock::Boot;
use commits::{Pending, Purpose};
use durable::Durable;
use effect::{Answer, Call, Effect, EffectId, Input, Now};
use finish::Command;
use limits::Limits;
use prepare::Draft;
use status::Waiting;
use std::collections::VecDeque;
use timing::Timing;

use crate::lease::LeaseView;

/// What a capability's coordinator is given at the start.
#[derive(Clone, Debug)]
pub struct Start {
    /// The capability's name.
    pub capability: String,
    /// The team that owns it.
    pub team: String,
    /// The cohort's steps in percent.
    pub steps: Vec<u8>,
    /// Bounds and patience.
    pub limits: Limits,
    /// The coordinator's term, durable before it is used.
    pub term: u64,
    /// The state in the journal.
    pub durable: Durable,
    /// The table's version in the journal.
    pub version: u64,
    /// The newest report in the journal.
    pub newest: Option<HandoverReport>,
    /// Until when leases of before the start may be valid.
    pub leases_until: Boot,
}

/// The state.
#[derive(Debug)]
pub struct Coordinator {
    start: Start,
    durable: Durable,
    wanted: BucketSet,
    owned: BucketSet,
    version: u64,
    leases: LeaseView,
    stage: Stage,
    entered: Boot,
    retry_at: Option<Boot>,
    tries: u32,
    effects: u64,
    step: u32,
    call: Option<EffectId>,
    commit: Option<Pending>,
    queue: VecDeque<Purpose>,
    draft: Draft,
    asked: BucketSet,
    gates: Gates,
    commands: VecDeque<Command>,
    notes: Vec<String>,
    waiting: Waiting,
    timing: Timing,
    newest: Option<HandoverReport>,
    out: Vec<Effect>,
}

/// Where a coordinator stands.
#[derive(Clone, Debug, PartialEq)]
enum Stage {
    /// Leases of before the start may be valid until then: no step is taken.
    Recover(Boot),
    /// Nothing runs; work is looked for from then on.
    Idle(Boot),
    /// Waits until every gateway routes by the present table.
    Ready,
    /// Asks sync how the streams are.
    Status,
    /// Asks the service what it may write.
    Ownership,
    /// Takes the gates for a moment, to see which can be had.
    Probe,
    /// Gives them back.
    ProbeRelease,
    /// Journals the attempt: writes are held from here on.
    Freeze,
    /// Waits for gateways to hold, and for writes in flight.
    Acks,
    /// Takes the gates.
    Take,
    /// Journals them.
    Gates,
    /// Sets the fence: the watermark.
    Mark,
    /// Waits until the service has applied the watermark.
    Forward,
    /// Closes the service.
    Close,
    /// Waits until the monolith has the service's last write.
    Reverse,
    /// Journals the new owner.
    Flip,
    /// Opens the new owner.
    Open,
    /// Releases the gates.
    Release,
    /// Waits until every gateway reads at the new owner.
    Settle,
    /// Journals the end.
    Steady,
    /// Journals that the attempt is undone from here on.
    Restoring,
    /// Releases the gates.
    RestoreRelease,
    /// Opens the old owner again.
    Undo,
    /// Journals that all is as it was.
    Restored,
    /// Another coordinator has taken over.
    Deposed(String),
}

/// What is known of the gates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Gates {
    /// Whether they may have been asked for in this attempt.
    asked: bool,
    /// A predecessor's connection, which may still hold them.
    kill: Option<u64>,
}

impl Coordinator {
    /// The state after a start, and its first effects.
    pub fn new(start: Start, now: Now) -> (Self, Vec<Effect>) {
        let durable = start.durable.clone();
        let mut coordinator = Self {
            wanted: durable.wanted(),
            owned: durable.service_buckets(),
            version: start.version,
            leases: LeaseView::default(),
            stage: Stage::Recover(start.leases_until),
            entered: now.boot,
            retry_at: None,
            tries: 0,
            effects: 0,
            step: 0,
            call: None,
            commit: None,
            queue: VecDeque::new(),
            draft: Draft::default(),
            asked: BucketSet::empty(),
            gates: Gates::default(),
            commands: VecDeque::new(),
            notes: Vec::new(),
            waiting: Waiting::default(),
            timing: Timing::default(),
            newest: start.newest.clone(),
            out: Vec::new(),
            durable,
            start,
        };
        coordinator.emit(now);
        let effects = std::mem::take(&mut coordinator.out);
        (coordinator, effects)
    }

    /// The next state and its effects, in the order in which they are to be begun.
    pub fn step(&mut self, now: Now, input: Input) -> Vec<Effect> {
        match input {
            Input::Tick => {}
            Input::Leases(view) => self.leases = view,
            Input::Wish(id, wish) => self.queue.push_back(Purpose::Wish(id, wish)),
            Input::Committed { id, version } => self.committed(id, version, now),
            Input::Deposed => {
                self.commit = None;
                self.depose("a later control has opened the journal");
            }
            Input::Answered { id, answer } if self.call == Some(id) => {
                self.call = None;
                self.answered(answer, now);
            }
            Input::Answered { .. } => {}
        }
        self.proceed(now);
        self.begin_commit(now);
        std::mem::take(&mut self.out)
    }

    /// When a tick is due at the latest.
    pub fn wake_at(&self, now: Boot) -> Option<Boot> {
        match &self.stage {
            Stage::Recover(until) => Some(*until),
            Stage::Idle(at) if self.plan().is_some() => Some(*at),
            Stage::Acks => self.next_patience(now),
            Stage::Ready => {
                let said = self.entered.plus(limits::READY_GRACE);
                [Some(said), self.waiting.straggles_at()].into_iter().flatten().filter(|at| *at > now).min()
            }
            _ => self.retry_at,
        }
    }

    /// Whether a handover runs, or one must be finished or restored.
    pub fn is_busy(&self) -> bool {
        let before = matches!(self.stage, Stage::Recover(_) | Stage::Idle(_) | Stage::Ready);
        !before && !matches!(self.stage, Stage::Deposed(_)) || self.commit.is_some()
    }

    /// What time and leases allow without an answer.
    fn proceed(&mut self, now: Now) {
        match self.stage {
            Stage::Recover(until) if until <= now.boot => self.recover(now),
            Stage::Idle(at) if at <= now.boot => self.begin(now),
            Stage::Ready => self.look_at_readiness(now),
            Stage::Acks => self.look_at_acks(now),
            Stage::Settle if self.leases.acknowledged >= self.version => self.enter(Stage::Steady, now),
            _ if self.retry_at.is_some_and(|at| at <= now.boot) => {
                self.retry_at = None;
                self.emit(now);
            }
            _ => {}
        }
    }

    fn enter(&mut self, stage: Stage, now: Now) {
        self.timing.enter(step_name(&stage), now.boot);
        self.stage = stage;
        self.entered = now.boot;
        self.retry_at = None;
        self.tries = 0;
        self.call = None;
        self.emit(now);
    }

    /// The effect of the present stage.
    fn emit(&mut self, now: Now) {
        let (attempt, to) = match &self.durable.attempt {
            Some(attempt) => (attempt.owner_epoch, attempt.to),
            None => (self.durable.next_epoch(), self.draft.to),
        };
        match self.stage {
            Stage::Recover(_) => self.release(self.durable.next_epoch()),
            Stage::Status => self.call(Call::Status),
            Stage::Ownership => self.call(Call::Ownership),
            Stage::Probe => self.take(self.draft.buckets.clone(), self.start.limits.probe_patience_ms),
            Stage::Take => self.take(self.asked.clone(), self.start.limits.gates_patience_ms),
            Stage::ProbeRelease | Stage::Release | Stage::RestoreRelease => self.release(attempt),
            Stage::Mark => {
                let buckets = self.moving();
                self.set_fence(FenceOwner::Moving, attempt, buckets);
            }
            Stage::Forward => self.wait_mark(Direction::Forward, now),
            Stage::Reverse => self.wait_mark(Direction::Reverse, now),
            Stage::Close => {
                let close =
                    OwnershipClose { turn: self.turn(attempt), buckets: self.moving(), owner_epoch: attempt };
                self.call(Call::Close(close));
            }
            Stage::Open | Stage::Undo => self.next_command(now),
            Stage::Freeze => self.queue.push_back(Purpose::Freeze { to }),
            Stage::Flip => self.queue.push_back(Purpose::Flip),
            Stage::Steady => self.queue.push_back(Purpose::Steady),
            Stage::Restoring => self.queue.push_back(Purpose::Restoring),
            Stage::Restored => self.queue.push_back(Purpose::Restored),
            Stage::Idle(_) | Stage::Ready | Stage::Acks | Stage::Gates => {}
            Stage::Settle | Stage::Deposed(_) => {}
        }
    }

    fn answered(&mut self, answer: Answer, now: Now) {
        if !matches!(answer, Answer::Failed(_)) {
            self.waiting.trouble = None;
        }
        match (&self.stage, answer) {
            (_, Answer::Failed(cause)) => self.failed(cause, now),
            (Stage::Recover(_), _) => {}
            (Stage::Status, Answer::Status(status)) => self.streams_known(&status, now),
            (Stage::Ownership, Answer::Ownership(ownership)) => self.ownership_known(&ownership, now),
            (Stage::Probe, Answer::Gates(gates)) => self.probed(gates, now),
            (Stage::ProbeRelease, Answer::Released) => self.probe_released(now),
            (Stage::Take, Answer::Gates(gates)) => self.gates_taken(gates, now),
            (Stage::Mark, Answer::Applied(true)) => self.enter(Stage::Forward, now),
            (Stage::Close, Answer::Applied(true)) => self.enter(Stage::Reverse, now),
            (Stage::Mark | Stage::Close, Answer::Applied(false)) => {
                self.restore("a guard refused the attempt's turn".into(), now);
            }
            (Stage::Forward | Stage::Reverse, Answer::Reached(true)) => self.mark_reached(now),
            (Stage::Forward | Stage::Reverse, Answer::Reached(false)) => self.mark_missed(None, now),
            (Stage::Forward, Answer::Parked(parked)) => self.restore(words::parked(&parked), now),
            (Stage::Open | Stage::Undo, Answer::Applied(true)) => self.command_applied(now),
            (Stage::Open | Stage::Undo, Answer::Applied(false)) => {
                self.depose("a guard has seen a later turn than this control's newest");
            }
            (Stage::Release, Answer::Released) => self.enter(Stage::Settle, now),
            (Stage::RestoreRelease, Answer::Released) => self.gates_released(now),
            (_, answer) => self.failed(format!("an answer that does not fit: {answer:?}"), now),
        }
    }

    fn failed(&mut self, cause: String, now: Now) {
        self.tries += 1;
        match self.stage {
            Stage::Recover(_) => {}
            Stage::Status | Stage::Ownership => self.refuse(cause, now),
            Stage::Probe => {
                self.draft.refusal = Some(cause);
                self.enter(Stage::ProbeRelease, now);
            }
            Stage::ProbeRelease if self.tries >= limits::RELEASE_TRIES_MAX => self.refuse(cause, now),
            Stage::RestoreRelease if self.may_skip_release() => self.gates_released(now),
            Stage::Take | Stage::Mark | Stage::Close => self.restore(cause, now),
            Stage::Forward | Stage::Reverse => self.mark_missed(Some(cause), now),
            _ => self.retry(cause, now),
        }
    }

    fn retry(&mut self, cause: String, now: Now) {
        self.waiting.trouble = Some(cause);
        self.retry_at = Some(now.boot.plus(limits::call_backoff(self.tries)));
    }

    fn depose(&mut self, cause: &str) {
        self.call = None;
        self.queue.retain(|purpose| matches!(purpose, Purpose::Wish(..)));
        self.retry_at = None;
        self.stage = Stage::Deposed(format!(
            "{cause}: another control runs, or this one's journal is older than what it coordinates"
        ));
    }

    fn call(&mut self, call: Call) {
        let id = self.next_effect();
        self.call = Some(id);
        self.out.push(Effect::Call { id, call });
    }

    fn next_effect(&mut self) -> EffectId {
        self.effects += 1;
        EffectId(self.effects)
    }

    fn turn(&mut self, attempt: OwnerEpoch) -> Turn {
        self.step += 1;
        Turn { term: self.start.term, attempt: attempt.0, step: self.step }
    }

    fn take(&mut self, buckets: BucketSet, patience_ms: u64) {
        let attempt = self.durable.attempt.as_ref().map(|a| a.owner_epoch);
        let turn = self.turn(attempt.unwrap_or_else(|| self.durable.next_epoch()));
        let capability = self.start.capability.clone();
        self.call(Call::TakeGates(GatesTake { capability, turn, buckets, patience_ms }));
    }

    fn release(&mut self, attempt: OwnerEpoch) {
        let capability = self.start.capability.clone();
        let kill_connection_id = self.gates.kill;
        self.call(Call::ReleaseGates(GatesRelease { capability, attempt: attempt.0, kill_connection_id }));
    }

    fn wait_mark(&mut self, direction: Direction, now: Now) {
        let left = self.start.limits.apply_max.saturating_sub(now.boot.since(self.entered));
        let wait_ms = u64::try_from(left.as_millis()).unwrap_or(0).clamp(1, limits::MARK_WAIT_MS_MAX);
        let owner_epoch = self.durable.burned;
        let (capability, buckets) = (self.start.capability.clone(), self.moving());
        self.call(Call::WaitMark(MarkWait { capability, direction, owner_epoch, buckets, wait_ms }));
    }

    /// The buckets that the attempt still has.
    fn moving(&self) -> BucketSet {
        self.durable.attempt.as_ref().map_or_else(BucketSet::empty, |a| a.buckets.clone())
    }

    /// Buckets that are not where they are wanted, by where they are wanted.
    fn pending(&self, to: Side) -> BucketSet {
        match to {
            Side::Service => self.wanted.difference(&self.owned),
            Side::Monolith => self.owned.difference(&self.wanted),
        }
    }
}

/// The step's name in reports; what belongs to no attempt has none.
fn step_name(stage: &Stage) -> Option<&'static str> {
    Some(match stage {
        Stage::Ready | Stage::Status | Stage::Ownership => "prepare",
        Stage::Probe | Stage::ProbeRelease => "probe",
        Stage::Freeze => "freeze",
        Stage::Acks => "acks",
        Stage::Take | Stage::Gates => "gates",
        Stage::Mark => "mark",
        Stage::Forward => "apply",
        Stage::Close => "close",
        Stage::Reverse => "reverse",
        Stage::Flip => "journal",
        Stage::Open => "open",
        Stage::Release => "release",
        Stage::Settle | Stage::Steady => "settle",
        Stage::Restoring | Stage::RestoreRelease | Stage::Undo | Stage::Restored => "restore",
        Stage::Recover(_) | Stage::Idle(_) | Stage::Deposed(_) => return None,
    })
}
