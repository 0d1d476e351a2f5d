//! The payment provider hangs, and the cohort moves all the same.

use anyhow::{Context as _, bail};
use banyan_core::BUCKETS;
use banyan_core::protocol::migration::MigrationStatus;
use banyan_runtime::clock;
use std::time::{Duration, Instant};

use super::{Course, MOVE_MAX, SETTLE, buckets_moved};
use crate::control::{Operator, POLL, standing};
use crate::load::record::Phase;
use crate::provider::Mode;
use crate::scorecard::{Outage, tenths};
use crate::timeline::Kind;

/// Payments that must hang before a handover is asked for.
const HANGING_MIN: usize = 2;

impl Course<'_> {
    /// The provider hangs; the cohort is asked up, down and up again meanwhile.
    pub(super) async fn outage(&mut self, operator: &Operator, length: Duration) -> anyhow::Result<()> {
        self.enter(Phase::Outage);
        let before = (operator.status().await?.handovers, buckets_moved(operator).await?);
        let start = clock::instant();
        self.load.meanwhile().set_outage(true);
        self.system.provider().set(Mode::Hang).await?;
        let mark = |kind, text| self.load.record().timeline(|timeline| timeline.mark(kind, text));
        mark(Kind::Fault, "the payment provider hangs");
        let outcome = self.move_during_outage(operator, (start, length)).await;
        self.system.provider().set(Mode::Normal).await?;
        let mark = |kind, text| self.load.record().timeline(|timeline| timeline.mark(kind, text));
        mark(Kind::Recovered, "the payment provider answers again");
        let ended = clock::instant();
        let mut outage = match outcome {
            Ok(outage) => outage,
            Err(error) => {
                tokio::time::sleep(SETTLE).await;
                self.load.meanwhile().set_outage(false);
                return Err(error);
            }
        };
        outage.seconds = tenths((ended - start).as_secs_f64());
        outage.handovers = operator.status().await?.handovers - before.0;
        outage.buckets_moved = buckets_moved(operator).await? - before.1;
        // What hung is answered now; customers hear of it within moments.
        while self.system.provider().control().await?.hanging > 0 && ended.elapsed() < MOVE_MAX {
            tokio::time::sleep(POLL).await;
        }
        let followed = operator.move_to(100.0, true, MOVE_MAX).await;
        outage.followed_ms = followed.is_ok().then(|| ended.elapsed().as_secs_f64() * 1000.0).map(f64::round);
        tokio::time::sleep(SETTLE).await;
        self.load.meanwhile().set_outage(false);
        self.card.outage = Some(outage);
        followed.map(|_| ()).context("the stragglers did not follow after the outage")
    }

    async fn move_during_outage(
        &mut self,
        operator: &Operator,
        (start, length): (Instant, Duration),
    ) -> anyhow::Result<Outage> {
        let mut outage = Outage::default();
        while self.system.provider().control().await?.hanging < HANGING_MIN {
            if start.elapsed() > length / 3 {
                bail!("fewer than {HANGING_MIN} payments hang: the load sends too few");
            }
            tokio::time::sleep(POLL).await;
        }
        for (turn, (percent, up)) in [(100.0, true), (0.0, false), (100.0, true)].into_iter().enumerate() {
            operator.ask(percent, up).await?;
            let status = as_far_as_can_be(operator, up).await?;
            let line = format!("  asked to {percent} %: {}", standing(&status));
            self.progress.say(&line);
            outage.waiting_for.extend(status.waiting_for.iter().cloned());
            outage.stragglers.extend(status.stragglers.iter().map(|bucket| bucket.to_string()));
            let next = start + length.mul_f64(0.3 + 0.25 * turn as f64);
            self.wait(next.saturating_duration_since(clock::instant())).await?;
        }
        self.wait((start + length).saturating_duration_since(clock::instant())).await?;
        for list in [&mut outage.stragglers, &mut outage.waiting_for] {
            list.sort();
            list.dedup();
        }
        Ok(outage)
    }
}

/// Waits until every bucket has moved but those that control names as stragglers.
async fn as_far_as_can_be(operator: &Operator, up: bool) -> anyhow::Result<MigrationStatus> {
    let start = clock::instant();
    loop {
        let status = operator.status().await?;
        let left = if up {
            usize::from(BUCKETS) - status.service_buckets.len()
        } else {
            status.service_buckets.len()
        };
        if left == status.stragglers.len() {
            return Ok(status);
        }
        if start.elapsed() > MOVE_MAX / 2 {
            bail!("during the outage {left} buckets have not moved: {}", standing(&status));
        }
        tokio::time::sleep(POLL).await;
    }
}
