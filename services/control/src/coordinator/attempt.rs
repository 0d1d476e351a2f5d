//! From the freeze to the flip. Writes are held, so every wait has a bound, and buckets that would keep the
//! others waiting leave.

use super::durable::Progress;
use super::effect::Now;
use super::{Coordinator, Gates, Stage, commits::Purpose, limits, words};
use banyan_core::Side;
use banyan_core::protocol::monolith::GatesTaken;
use banyan_runtime::clock::Boot;
use std::time::Duration;

impl Coordinator {
    /// Goes on once every gateway holds and enough buckets have no write in flight.
    pub(super) fn look_at_acks(&mut self, now: Now) {
        let waited = now.boot.since(self.entered);
        let limits = &self.start.limits;
        if self.leases.acknowledged < self.version {
            if waited >= limits.ack_max {
                let slowest = self.leases.slowest.clone().unwrap_or_default();
                let cause =
                    format!("gateway {slowest} has not acknowledged the freeze within {} ms", ms(waited));
                self.restore(cause, now);
            }
            return;
        }
        let moving = self.moving();
        let undrained = moving.intersection(&self.leases.undrained);
        let drained = moving.difference(&undrained);
        let most = drained.len() * 2 >= moving.len();
        let enough = undrained.is_empty()
            || (most && waited >= limits.drain_patience)
            || (waited >= limits.drain_max && !drained.is_empty());
        if enough {
            if !undrained.is_empty() {
                self.notes.push(words::in_flight(&undrained, ms(waited)));
            }
            self.asked = drained;
            self.gates.asked = true;
            self.enter(Stage::Take, now);
        } else if waited >= limits.drain_max {
            self.restore_left(vec![words::in_flight(&undrained, ms(waited))], now);
        }
    }

    /// The next instant at which [`Self::look_at_acks`] may decide otherwise without news.
    pub(super) fn next_patience(&self, now: Boot) -> Option<Boot> {
        let bounds = &self.start.limits;
        let all = [bounds.drain_patience, bounds.drain_max, bounds.ack_max, limits::FORCED_ACK_MAX];
        all.into_iter().map(|patience| self.entered.plus(patience)).filter(|at| *at > now).min()
    }

    pub(super) fn gates_taken(&mut self, gates: GatesTaken, now: Now) {
        if gates.xa_prepared > 0 {
            return self.restore(words::xa(gates.xa_prepared), now);
        }
        let held = gates.taken.intersection(&self.asked);
        let missed = self.asked.difference(&held);
        let mut causes = std::mem::take(&mut self.notes);
        if !missed.is_empty() {
            causes.extend(words::holders(&missed, &gates.holders));
        }
        if held.is_empty() {
            return self.restore_left(causes, now);
        }
        self.enter(Stage::Gates, now);
        self.queue.push_back(Purpose::Gates { held, connection_id: gates.connection_id, causes });
    }

    pub(super) fn mark_reached(&mut self, now: Now) {
        let to = self.durable.attempt.as_ref().map(|a| a.to);
        let next = match (&self.stage, to) {
            // Strays before the watermark are the service's to decide, so it closes behind them.
            (Stage::Forward, Some(Side::Monolith)) => Stage::Close,
            _ => Stage::Flip,
        };
        self.enter(next, now);
    }

    /// Waiting for a mark has no effect, so it may be repeated until the bound.
    pub(super) fn mark_missed(&mut self, cause: Option<String>, now: Now) {
        let max = self.start.limits.apply_max;
        if now.boot.since(self.entered) < max {
            return match cause {
                Some(cause) => self.retry(cause, now),
                None => self.emit(now),
            };
        }
        let stream = match self.stage {
            Stage::Reverse => "the monolith has not applied the service's last write",
            _ => "the service has not applied the watermark",
        };
        let detail = cause.map(|c| format!(": {c}")).unwrap_or_default();
        self.restore(format!("{stream} within {} ms{detail}", max.as_millis()), now);
    }

    /// A wish for the other direction ends an advance that waits.
    pub(super) fn yield_to_wish(&mut self, now: Now) {
        let waits = matches!(self.stage, Stage::Acks | Stage::Forward | Stage::Reverse);
        let unwanted = self.durable.attempt.as_ref().is_some_and(|attempt| {
            attempt.to == Side::Service && attempt.buckets.intersection(&self.wanted).is_empty()
        });
        if waits && unwanted {
            self.restore("a smaller share was asked for".into(), now);
        }
    }

    /// Undoes the attempt; possible until the owner has flipped.
    pub(super) fn restore(&mut self, cause: String, now: Now) {
        self.waiting.refuse(cause.clone(), now);
        self.notes.push(cause);
        self.undo(now);
    }

    /// The same where each bucket has a cause of its own.
    fn restore_left(&mut self, causes: Vec<String>, now: Now) {
        self.waiting.leave(&self.moving(), &causes);
        self.notes = causes;
        self.undo(now);
    }

    /// Restoring is journalled before the first undo; where nothing was touched there is nothing to undo.
    pub(super) fn undo(&mut self, now: Now) {
        let next = match (self.is_untouched(), self.gates.asked) {
            (false, _) => Stage::Restoring,
            (true, true) => Stage::RestoreRelease,
            (true, false) => Stage::Restored,
        };
        self.enter(next, now);
    }

    /// Before the fence was touched, gates that cannot be released vanish with their connection.
    pub(super) fn may_skip_release(&self) -> bool {
        self.is_untouched() && self.tries >= limits::RELEASE_TRIES_MAX
    }

    /// The fence names the old owner again before the gates are released, so that a writer that waits at a
    /// gate passes.
    pub(super) fn begin_undo(&mut self, now: Now) {
        self.commands = self.undo_commands();
        self.enter(Stage::Undo, now);
    }

    pub(super) fn gates_released(&mut self, now: Now) {
        self.gates = Gates::default();
        self.enter(Stage::Restored, now);
    }

    /// Whether neither fence nor service can have been touched by the attempt.
    fn is_untouched(&self) -> bool {
        self.durable.attempt.as_ref().is_some_and(|a| a.progress == Progress::Frozen)
    }
}

fn ms(duration: Duration) -> u128 {
    duration.as_millis()
}
