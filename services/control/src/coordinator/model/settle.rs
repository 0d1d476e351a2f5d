//! The end of a run: faults end, and everything must come to rest.

use super::schedule::{Run, SHARES, highest_epoch};
use crate::coordinator::effect::{Input, WishId};
use crate::coordinator::wish::{Action, Wish};
use banyan_core::{Phase, Side};
use banyan_runtime::clock::Boot;

/// How long a run may take to settle, in rounds of 20 ms.
const ROUNDS_MAX: usize = 1500;

impl Run {
    /// Faults end, everybody goes on: the run must come to rest where it was wished, and go on both ways.
    pub fn settle(&mut self) {
        self.fleet.cut_off(None);
        self.world.stall(0);
        self.world.settle_letters();
        let newest = self.nodes.len() - 1;
        (0..newest).for_each(|node| self.nodes[node].alive = false);
        let wanted = Action::Rollback(Some(0.0));
        for action in [Action::Resume, wanted, Action::Advance(Some(SHARES[2])), wanted] {
            self.wishes += 1;
            let wish = Wish { action, by: "ann".into(), reason: String::new() };
            self.input(newest, Input::Wish(WishId(self.wishes), wish));
            self.come_to_rest(newest);
        }
    }

    fn come_to_rest(&mut self, newest: usize) {
        for round in 0..ROUNDS_MAX {
            self.rebuild_service();
            self.settle_a_round(newest, round);
            if self.is_settled() {
                return self.check_settled();
            }
        }
        let status = self.nodes[newest].coordinator.status(self.now());
        let (stage, waits) = (format!("{:?}", self.nodes[newest].coordinator.stage), status.waiting_for);
        self.world.violate(format!("does not come to rest: {stage}, {waits:?}"));
    }

    fn settle_a_round(&mut self, newest: usize, round: usize) {
        // What is late comes now, in the order of sending.
        for at in 0..self.network.len() {
            self.execute(at);
        }
        self.network.retain(|p| p.node == newest && !p.done);
        if !self.nodes[newest].coordinator.is_busy() {
            self.world.lose_gates();
        }
        for _ in 0..4 {
            self.answer_call(newest);
            self.commit(newest);
        }
        // One gateway is slower than the other.
        let renewing = (0..self.fleet.len()).filter(|nth| round.is_multiple_of(1 + 3 * nth));
        renewing.for_each(|nth| self.renew(nth));
        if !self.is_at_rest() {
            let now = Boot::from_ms(self.now);
            (0..3).for_each(|nth| {
                let bucket = self.bucket(round + nth);
                self.fleet.admit(nth, bucket, (now, &mut self.world));
            });
        }
        (0..9).for_each(|nth| {
            self.fleet.arrive(nth, &mut self.world, &self.journal.durable);
            self.fleet.commit(0, &mut self.world, &self.journal.durable);
        });
        (0..5).for_each(|_| {
            self.world.step_forward();
            self.world.step_reverse();
        });
        self.world.check_one_owner(&self.buckets);
        self.pass(20);
    }

    fn is_settled(&self) -> bool {
        self.is_at_rest() && self.fleet.is_quiet() && self.world.is_quiet()
    }

    /// Whether every bucket is where it is wanted.
    fn is_at_rest(&self) -> bool {
        let coordinator = &self.nodes[self.nodes.len() - 1].coordinator;
        let pending = [Side::Service, Side::Monolith].map(|to| coordinator.pending(to).len());
        self.journal.durable.attempt.is_none() && !coordinator.is_busy() && pending == [0, 0]
    }

    fn check_settled(&mut self) {
        let (durable, buckets) = (&self.journal.durable, &self.buckets);
        self.world.check_settled(buckets, durable);
        let unsteady = durable.table.filter(|h| h.phase != Phase::Steady);
        let highest = highest_epoch(durable);
        if !unsteady.is_empty() || durable.service_buckets() != durable.wanted() || highest > durable.burned {
            self.world.violate(format!("the journal is not at rest: {unsteady}, {highest}"));
        }
    }
}
