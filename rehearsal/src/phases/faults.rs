//! What is done to the system on purpose: roles are killed, a crowd comes.

use banyan_runtime::clock;
use std::time::{Duration, Instant};

use super::{Course, MOVE_MAX};
use crate::control::Operator;
use crate::load::Surge;
use crate::load::record::Phase;
use crate::recovery;
use crate::scorecard::{Spike, tenths};
use crate::timeline::Kind;

/// Roles whose end no request notices: gateways go on by their lease, both owners by what they have.
const UNNOTICED: [&str; 2] = ["sync", "control"];
/// The share that is asked for to see whether buckets move, in percent.
const SMALLER: f64 = 90.0;
/// How much more comes in a spike.
const SPIKE_FACTOR: f64 = 10.0;
/// The most that comes in a spike, a second: more would measure the customers and not the system.
const SPIKE_RATE_MAX: f64 = 1000.0;

impl Course<'_> {
    /// Kills roles that no request needs at once, and waits for each to come back: until buckets move again.
    pub(super) async fn recoveries(&mut self, operator: &Operator) -> anyhow::Result<()> {
        for role in UNNOTICED.into_iter().take(self.schedule.kills) {
            self.enter(Phase::Recoveries);
            let injected = clock::instant();
            let mut recovery = recovery::kill(self.system, role, self.load.record()).await?;
            operator.move_to(SMALLER, false, MOVE_MAX).await?;
            recovery.moved_ms = Some(tenths(injected.elapsed().as_secs_f64() * 1000.0));
            self.progress.say(&format!("  {}", recovery.in_words()));
            operator.move_to(100.0, true, MOVE_MAX).await?;
            self.card.recoveries.push(recovery);
            self.settle().await?;
        }
        Ok(())
    }

    /// Lets a crowd come and waits until each of its requests has its answer.
    pub(super) async fn spike(&mut self, length: Duration) -> anyhow::Result<()> {
        let began = self.begin_spike(length);
        self.card.spike.get_or_insert_default().all_at_service = true;
        self.load.calm().await?;
        self.end_spike(began);
        self.settle().await
    }

    /// Lets a crowd come.
    pub fn begin_spike(&mut self, length: Duration) -> Instant {
        self.enter(Phase::Spike);
        let wanted = (self.rate * SPIKE_FACTOR).min(SPIKE_RATE_MAX).max(self.rate * 2.0);
        let spike = self.card.spike.get_or_insert_default();
        spike.factor = tenths(wanted / self.rate);
        spike.wanted_per_s = wanted;
        spike.seconds += length.as_secs_f64();
        spike.all_at_service = false;
        let factor = spike.factor;
        self.load.record().timeline(|timeline| timeline.mark(Kind::Fault, &format!("spike ×{factor}")));
        self.load.surge(Surge { rate: wanted - self.rate, length, seed: self.card.seed });
        clock::instant()
    }

    /// Notes that every request of the crowd has its answer.
    pub fn end_spike(&mut self, began: Instant) {
        self.enter(Phase::Settling);
        let took = tenths(began.elapsed().as_secs_f64());
        let spike: &mut Spike = self.card.spike.get_or_insert_default();
        spike.until_answered_s += took;
        self.load.record().timeline(|timeline| timeline.mark(Kind::Recovered, "the spike is answered"));
    }
}
