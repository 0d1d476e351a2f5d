//! What is journalled, one commit at a time, and what follows from each.
//!
//! A commit is composed when it is begun, from the state that the commit before it left: wishes and the
//! attempt's own commits may come in any order.

use super::durable::{Attempt, Durable, Progress};
use super::effect::{AuditEntry, Commit, Effect, EffectId, Now, VersionChange, WishId};
use super::limits::backoff;
use super::wish::{self, Wish};
use super::{Coordinator, Gates, Stage, forced, words};
use banyan_core::protocol::migration::{HandoverOutcome, HandoverReport};
use banyan_core::{BucketSet, Side};

/// Why something is journalled.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    Wish(WishId, Wish),
    Freeze { to: Side },
    Gates { held: BucketSet, connection_id: u64, causes: Vec<String> },
    Flip,
    Steady,
    Restoring,
    Restored,
    Admit,
    Admitted,
}

impl Purpose {
    /// The name of the step.
    fn step(&self) -> &'static str {
        match self {
            Self::Wish(..) => "wish",
            Self::Freeze { .. } => "freeze",
            Self::Gates { .. } => "gates",
            Self::Flip => "flip",
            Self::Steady => "steady",
            Self::Restoring => "restoring",
            Self::Restored => "restored",
            Self::Admit => "admit",
            Self::Admitted => "admitted",
        }
    }
}

/// A commit that has been begun.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    id: EffectId,
    purpose: Purpose,
    next: Durable,
    report: Option<HandoverReport>,
}

impl Coordinator {
    pub(super) fn begin_commit(&mut self, now: Now) {
        while self.commit.is_none()
            && let Some(purpose) = self.queue.pop_front()
        {
            if let Some(commit) = self.compose(&purpose, now) {
                let id = self.next_effect();
                let (next, report) = (commit.next.clone(), commit.report.clone());
                self.commit = Some(Pending { id, purpose, next, report });
                self.out.push(Effect::Commit { id, commit: Box::new(commit) });
            }
        }
    }

    fn compose(&mut self, purpose: &Purpose, now: Now) -> Option<Commit> {
        let mut next = self.durable.clone();
        let (mut audit, mut report) = (None, None);
        match purpose {
            Purpose::Wish(id, wish) => return self.compose_wish((*id, wish), now),
            Purpose::Freeze { to } => {
                next.freeze(self.attempt_of_draft(*to, now));
                self.timing.freeze(now.boot);
            }
            Purpose::Gates { held, connection_id, causes } => {
                next.gates_held(held, *connection_id, causes.clone());
            }
            Purpose::Restoring => next.restoring(),
            Purpose::Restored => {
                let mut attempt = next.restored();
                attempt.causes.append(&mut self.notes.clone());
                audit = Some(record("handover.restore", &attempt));
                report = Some(self.report(&attempt, HandoverOutcome::Restored, now));
            }
            Purpose::Flip => {
                match self.exposed.take().filter(|_| self.is_forced_attempt()) {
                    Some(exposure) => next.flip_with(exposure),
                    None => next.flip(),
                }
                audit = next.attempt.as_ref().map(|attempt| record("handover.flip", attempt));
            }
            Purpose::Steady => {
                let attempt = next.steady();
                report = Some(self.report(&attempt, HandoverOutcome::Done, now));
            }
            Purpose::Admit => next.admission(),
            Purpose::Admitted => {
                next.cut = None;
                let detail = "the service may have a lease again".into();
                audit = Some(AuditEntry {
                    by: "control".into(),
                    action: "migration.admit",
                    detail,
                    reason: String::new(),
                });
            }
        }
        let version = match purpose {
            Purpose::Admit | Purpose::Admitted => VersionChange::Same,
            _ => VersionChange::Next,
        };
        Some(Commit { step: purpose.step(), next, version, audit, report })
    }

    fn compose_wish(&mut self, (id, wish): (WishId, &Wish), now: Now) -> Option<Commit> {
        match wish::decide(&self.durable, wish, (&self.start.steps, now.unix_ms)) {
            Ok((next, audit)) => Some(Commit {
                step: "wish",
                next,
                version: VersionChange::Same,
                audit: Some(audit),
                report: None,
            }),
            Err(rejection) => {
                self.out.push(Effect::Settle(id, Err(rejection)));
                None
            }
        }
    }

    fn attempt_of_draft(&mut self, to: Side, now: Now) -> Attempt {
        self.notes.clear();
        self.gates = Gates::default();
        self.exposed = None;
        Attempt {
            owner_epoch: self.durable.next_epoch(),
            to,
            buckets: self.draft.buckets.clone(),
            left: self.draft.left.clone(),
            causes: self.draft.causes.clone(),
            progress: Progress::Frozen,
            forced: self.draft.forced,
            exposure: None,
            connection_id: None,
            started_ms: self.draft.started_ms,
            frozen_ms: now.unix_ms,
        }
    }

    pub(super) fn committed(&mut self, id: EffectId, version: u64, now: Now) {
        let Some(pending) = self.commit.take_if(|pending| pending.id == id) else { return };
        let ended = std::mem::replace(&mut self.durable, pending.next).attempt;
        if pending.report.is_some() {
            self.newest = pending.report;
        }
        match pending.purpose {
            Purpose::Wish(id, _) => return self.wish_committed(id, now),
            _ => self.version = version,
        }
        match pending.purpose {
            Purpose::Wish(..) => {}
            Purpose::Freeze { .. } => {
                self.waiting.leave(&self.draft.left, &self.draft.causes);
                self.enter(Stage::Acks, now);
            }
            Purpose::Gates { .. } => {
                if let Some(attempt) = &self.durable.attempt {
                    self.waiting.leave(&attempt.left, &attempt.causes);
                }
                self.enter(Stage::Mark, now);
            }
            Purpose::Restoring => self.begin_undo(now),
            Purpose::Flip => {
                self.owned = self.durable.service_buckets();
                self.commands = self.open_commands();
                self.enter(Stage::Open, now);
            }
            Purpose::Admit => self.enter(Stage::AdmitStatus, now),
            Purpose::Admitted => {
                self.waiting.refusal = None;
                self.enter(Stage::Idle(now.boot), now);
            }
            Purpose::Steady => self.moved(ended, now),
            Purpose::Restored => self.unmoved(ended, now),
        }
    }

    fn wish_committed(&mut self, id: WishId, now: Now) {
        self.out.push(Effect::Settle(id, Ok(())));
        self.wanted = self.durable.wanted();
        let pending = self.pending(Side::Service).union(&self.pending(Side::Monolith));
        self.waiting.wish(&pending);
        if matches!(self.stage, Stage::Idle(_) | Stage::Lapse | Stage::Ready) {
            self.waiting.refusal = None;
            self.enter(Stage::Idle(now.boot), now);
        }
        self.yield_to_wish(now);
        self.give_up_on_service(now);
        self.give_up_plans(now);
    }

    fn moved(&mut self, ended: Option<Attempt>, now: Now) {
        let Some(attempt) = ended else { return };
        self.gates = Gates::default();
        self.waiting.moved(&attempt);
        let rest = self.pending(Side::Service).union(&self.pending(Side::Monolith));
        let only_left = rest.difference(&self.waiting.left()).is_empty();
        let at = if only_left { now.boot.plus(self.start.limits.retry_min) } else { now.boot };
        self.enter(Stage::Idle(at), now);
    }

    fn unmoved(&mut self, ended: Option<Attempt>, now: Now) {
        let Some(attempt) = ended else { return };
        self.notes.clear();
        self.gates = Gates::default();
        if attempt.buckets.intersection(&self.pending(attempt.to)).is_empty() {
            self.waiting.refusal = None;
            return self.enter(Stage::Idle(now.boot), now);
        }
        self.waiting.failures += 1;
        self.waiting.prefer = attempt.to.other();
        let limits = &self.start.limits;
        let pause = backoff(limits.retry_min, limits.retry_max, self.waiting.failures);
        self.enter(Stage::Idle(now.boot.plus(pause)), now);
    }
}

fn record(action: &'static str, attempt: &Attempt) -> AuditEntry {
    let mut detail = format!(
        "owner epoch {}: {} from {} to {}, {} left behind",
        attempt.owner_epoch,
        words::count(attempt.buckets.len()),
        attempt.to.other(),
        attempt.to,
        attempt.left.len()
    );
    if let Some(exposed) = forced::in_words(attempt) {
        detail = format!("{detail}; {exposed}");
    }
    AuditEntry { by: "control".into(), action, detail, reason: attempt.causes.join("; ") }
}
