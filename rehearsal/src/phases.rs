//! The course of a rehearsal, phase by phase, under load from the first to the last.
//!
//! A phase that goes wrong is noted as a problem and ends the course; the audit runs all the same.

use anyhow::{Context as _, bail};
use banyan_core::BUCKETS;
use banyan_core::protocol::migration::{HandoverOutcome, HandoverReport, MigrationStatus, Quantiles};
use banyan_core::protocol::monolith::OfCapability;
use banyan_runtime::clock;
use banyan_runtime::quantiles::Samples;
use std::time::{Duration, Instant};

use crate::control::{CAPABILITY, Operator, POLL, standing};
use crate::installation::Layout;
use crate::load::Load;
use crate::load::record::Phase;
use crate::options::Schedule;
use crate::progress::{Progress, phase_name};
use crate::provider::Mode;
use crate::scorecard::{Outage, Scorecard, tenths};
use crate::system::System;

/// Load that settles between two measurements.
const SETTLE: Duration = Duration::from_secs(2);
/// How long a handover may take before the rehearsal gives up on it.
const MOVE_MAX: Duration = Duration::from_secs(30);
/// How long copying may take.
const COPY_MAX: Duration = Duration::from_secs(120);
/// Payments that must hang before a handover is asked for.
const HANGING_MIN: usize = 2;
/// More handovers than a rehearsal ever makes.
const HANDOVERS_MAX: u64 = 100_000;
const STEPS: [f64; 4] = [1.0, 10.0, 50.0, 100.0];

/// What the phases work with, and what they find out.
pub struct Course<'r> {
    /// The servers.
    pub system: &'r mut System,
    /// The customers.
    pub load: &'r mut Load,
    /// What is shown.
    pub progress: &'r Progress,
    /// How long everything lasts.
    pub schedule: Schedule,
    /// Whether Banyan's roles share a process.
    pub layout: Layout,
    /// What was measured.
    pub card: &'r mut Scorecard,
}

impl Course<'_> {
    /// All phases; the load runs before and after.
    ///
    /// # Errors
    /// A phase cannot be carried out.
    pub async fn run(&mut self) -> anyhow::Result<()> {
        self.settle().await;
        self.card.cpu_ms_per_request.before = self.measure(Phase::Before, self.schedule.before).await?;
        let operator = self.put_gateway_in().await?;
        self.settle().await;
        let length = self.schedule.through_gateway;
        self.card.cpu_ms_per_request.through_gateway = self.measure(Phase::ThroughGateway, length).await?;
        self.verify(&operator).await?;
        self.rounds(&operator).await?;
        if let Some(length) = self.schedule.outage {
            self.outage(&operator, length).await?;
        }
        self.enter(Phase::Settling);
        operator.move_to(100.0, true, MOVE_MAX).await?;
        tokio::time::sleep(SETTLE).await;
        self.card.cpu_ms_per_request.after = self.measure(Phase::After, self.schedule.after).await?;
        self.enter(Phase::Finale);
        self.roll_back(&operator).await?;
        tokio::time::sleep(self.schedule.step).await;
        operator.move_to(100.0, true, MOVE_MAX).await?;
        tokio::time::sleep(self.schedule.step).await;
        Ok(())
    }

    fn enter(&self, phase: Phase) {
        self.load.record().enter(phase);
        if phase != Phase::Settling {
            self.progress.say(&format!("— {}", phase_name(phase)));
        }
    }

    async fn settle(&self) {
        self.enter(Phase::Settling);
        tokio::time::sleep(SETTLE).await;
    }

    /// Lets the load run for a while; the CPU milliseconds of all processes of the system per request.
    async fn measure(&mut self, phase: Phase, length: Duration) -> anyhow::Result<f64> {
        self.enter(phase);
        let requests = || self.load.record().live().requests;
        let (cpu_before, requests_before) = (self.system.cpu_ms()?, requests());
        tokio::time::sleep(length).await;
        let (cpu, done) = (self.system.cpu_ms()? - cpu_before, requests() - requests_before);
        Ok(if done == 0 { 0.0 } else { (cpu / done as f64 * 100.0).round() / 100.0 })
    }

    /// Starts Banyan before the monolith, turns the customers to it, and waits until all rows are copied.
    async fn put_gateway_in(&mut self) -> anyhow::Result<Operator> {
        self.enter(Phase::Copying);
        let installation = self.system.start_banyan(&self.layout.into()).await?;
        self.load.turn_to(&installation.url());
        let operator = installation.operator().clone();
        self.progress.watch_banyan(operator.clone());
        let of = OfCapability { capability: CAPABILITY.into() };
        let _: serde_json::Value = operator.sync.post("/v1/fence/install", &of).await?;
        let start = clock::instant();
        loop {
            let sync = operator.sync_status().await?;
            if sync.copied && sync.forward_live && sync.fence_installed {
                let took = start.elapsed().as_secs_f64();
                self.progress.say(&format!("  {} rows copied in {took:.1} s", sync.copy_rows));
                return Ok(operator);
            }
            if start.elapsed() > COPY_MAX {
                let faults = sync.faults.join("; ");
                bail!("{} of about {} rows copied: {faults}", sync.copy_rows, sync.copy_rows_estimated);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn verify(&self, operator: &Operator) -> anyhow::Result<()> {
        self.enter(Phase::Copying);
        let report = operator.verify().await.context("comparing all rows")?;
        self.progress.say(&format!("  {} rows compared, {} differ", report.rows_compared, report.mismatches));
        if report.mismatches > 0 {
            bail!(
                "{} rows differ before the first handover: {}",
                report.mismatches,
                report.samples.join("; ")
            );
        }
        Ok(())
    }

    async fn rounds(&mut self, operator: &Operator) -> anyhow::Result<()> {
        self.enter(Phase::Rounds);
        for round in 1..=self.schedule.rounds {
            for percent in STEPS {
                operator.move_to(percent, true, MOVE_MAX).await?;
                tokio::time::sleep(self.schedule.step).await;
            }
            let ms = self.roll_back(operator).await?;
            self.progress.say(&format!("  round {round}: 1 → 10 → 50 → 100 % and back in {ms:.0} ms"));
            tokio::time::sleep(self.schedule.step).await;
        }
        Ok(())
    }

    /// Takes the whole cohort back, timed from the command to the last bucket.
    async fn roll_back(&mut self, operator: &Operator) -> anyhow::Result<f64> {
        let took = operator.move_to(0.0, false, MOVE_MAX).await?;
        let ms = tenths(took.as_secs_f64() * 1000.0);
        self.card.rollbacks_ms.push(ms);
        Ok(ms)
    }

    /// The provider hangs; the cohort is asked up, down and up again meanwhile.
    async fn outage(&mut self, operator: &Operator, length: Duration) -> anyhow::Result<()> {
        self.enter(Phase::Outage);
        let before = (operator.status().await?.handovers, buckets_moved(operator).await?);
        let start = clock::instant();
        self.load.set_outage(true);
        self.system.provider().set(Mode::Hang).await?;
        let outcome = self.move_during_outage(operator, (start, length)).await;
        if outcome.is_ok() {
            tokio::time::sleep((start + length).saturating_duration_since(clock::instant())).await;
        }
        self.system.provider().set(Mode::Normal).await?;
        let ended = clock::instant();
        let mut outage = outcome?;
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
        self.load.set_outage(false);
        self.card.outage = Some(outage);
        followed.map(|_| ()).context("the stragglers did not follow after the outage")
    }

    async fn move_during_outage(
        &self,
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
            tokio::time::sleep(next.saturating_duration_since(clock::instant())).await;
        }
        for list in [&mut outage.stragglers, &mut outage.waiting_for] {
            list.sort();
            list.dedup();
        }
        Ok(outage)
    }
}

/// Buckets that changed their owner, summed over all finished handovers.
///
/// # Errors
/// Control does not answer.
pub async fn buckets_moved(operator: &Operator) -> anyhow::Result<u64> {
    Ok(finished(operator).await?.iter().map(|h| h.buckets.len() as u64).sum())
}

/// From freeze to release of the writes, of all finished handovers.
///
/// # Errors
/// Control does not answer.
pub async fn handover_holds(operator: &Operator) -> anyhow::Result<Quantiles> {
    let samples = Samples::new();
    finished(operator).await?.iter().for_each(|h| samples.record_ms(h.hold_ms as f64));
    Ok(samples.quantiles())
}

async fn finished(operator: &Operator) -> anyhow::Result<Vec<HandoverReport>> {
    let mut all = operator.handovers(HANDOVERS_MAX).await?;
    all.retain(|h| h.outcome == HandoverOutcome::Done);
    Ok(all)
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
