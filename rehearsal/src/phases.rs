//! The course of a rehearsal, phase by phase, under load from the first to the last.
//!
//! A phase that goes wrong is noted as a problem and ends the course; the audit runs all the same.

mod faults;
mod outage;

use anyhow::{Context as _, bail};
use banyan_core::protocol::migration::{HandoverOutcome, HandoverReport, Quantiles};
use banyan_core::protocol::monolith::OfCapability;
use banyan_runtime::clock;
use banyan_runtime::quantiles::Samples;
use std::time::Duration;

use crate::by_hand::ByHand;
use crate::control::{CAPABILITY, Operator, POLL};
use crate::installation::Shape;
use crate::keys::{Key, Keys};
use crate::load::Load;
use crate::load::record::Phase;
use crate::options::Schedule;
use crate::progress::{Progress, phase_name};
use crate::scorecard::{Cpu, Scorecard, tenths};
use crate::system::System;

/// Load that settles between two measurements.
pub const SETTLE: Duration = Duration::from_secs(2);
/// How long a handover may take before the rehearsal gives up on it.
pub const MOVE_MAX: Duration = Duration::from_secs(30);
/// How long copying may take.
const COPY_MAX: Duration = Duration::from_secs(120);
/// More handovers than a rehearsal ever makes.
pub const HANDOVERS_MAX: u64 = 100_000;
const STEPS: [f64; 4] = [1.0, 10.0, 50.0, 100.0];

/// A key was pressed: the schedule ends here.
#[derive(Debug)]
struct Taken;

impl std::fmt::Display for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key was pressed")
    }
}

impl std::error::Error for Taken {}

/// What makes things happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lead {
    /// The schedule, until a key is pressed.
    Scheduled,
    /// Keys alone.
    ByHand,
}

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
    /// How Banyan is installed.
    pub shape: Shape,
    /// The usual rate, in requests a second.
    pub rate: f64,
    /// The keyboard.
    pub keys: &'r mut Keys,
    /// The key that ended the schedule.
    pub pressed: Option<Key>,
    /// What was measured.
    pub card: &'r mut Scorecard,
}

impl Course<'_> {
    /// All phases, or only keys; the load runs before and after. The first key ends the schedule at its next
    /// pause: whatever was begun is brought to its end first.
    ///
    /// # Errors
    /// A phase cannot be carried out.
    pub async fn run(&mut self, lead: Lead) -> anyhow::Result<()> {
        if lead == Lead::Scheduled {
            match self.scheduled().await {
                Err(error) if error.is::<Taken>() => {
                    self.progress.say("the schedule is over: from now on only keys act, and q finishes");
                }
                outcome => return outcome,
            }
        }
        self.schedule.leave();
        let operator = match self.system.banyan() {
            Some(banyan) => banyan.operator().clone(),
            None => self.put_gateway_in().await?,
        };
        let first = self.pressed.take();
        ByHand::new(self, operator).run(first).await
    }

    async fn scheduled(&mut self) -> anyhow::Result<()> {
        self.settle().await?;
        self.measure(Phase::Before, (self.schedule.before, |cpu| &mut cpu.before)).await?;
        let operator = self.put_gateway_in().await?;
        self.settle().await?;
        let length = self.schedule.through_gateway;
        self.measure(Phase::ThroughGateway, (length, |cpu| &mut cpu.through_gateway)).await?;
        self.verify(&operator).await?;
        self.rounds(&operator).await?;
        if let Some(length) = self.schedule.outage {
            self.outage(&operator, length).await?;
        }
        self.enter(Phase::Settling);
        operator.move_to(100.0, true, MOVE_MAX).await?;
        self.wait(SETTLE).await?;
        self.measure(Phase::After, (self.schedule.after, |cpu| &mut cpu.after)).await?;
        self.recoveries(&operator).await?;
        if let Some(length) = self.schedule.spike {
            self.spike(length).await?;
        }
        self.enter(Phase::Finale);
        self.roll_back(&operator).await?;
        self.wait(self.schedule.step).await?;
        operator.move_to(100.0, true, MOVE_MAX).await?;
        self.wait(self.schedule.step).await
    }

    /// Lets time pass; a key ends the schedule.
    async fn wait(&mut self, length: Duration) -> anyhow::Result<()> {
        tokio::select! {
            () = tokio::time::sleep(length) => Ok(()),
            key = self.keys.next() => {
                self.pressed = Some(key);
                Err(Taken.into())
            }
        }
    }

    /// Starts another phase.
    pub fn enter(&self, phase: Phase) {
        self.load.record().enter(phase);
        if phase != Phase::Settling {
            self.progress.say(&format!("— {}", phase_name(phase)));
        }
    }

    async fn settle(&mut self) -> anyhow::Result<()> {
        self.enter(Phase::Settling);
        self.wait(SETTLE).await
    }

    /// Lets the load run for a while, and notes the CPU milliseconds of all processes of the system by request
    /// and by request that was answered as it should be.
    async fn measure(
        &mut self,
        phase: Phase,
        (length, of): (Duration, fn(&mut Cpu) -> &mut f64),
    ) -> anyhow::Result<()> {
        self.enter(phase);
        let (cpu_before, before) = (self.system.cpu_ms()?, self.load.record().live());
        self.wait(length).await?;
        let (cpu, now) = (self.system.cpu_ms()? - cpu_before, self.load.record().live());
        let by = |done: u64| if done == 0 { 0.0 } else { (cpu / done as f64 * 100.0).round() / 100.0 };
        *of(&mut self.card.cpu_ms_per_request) = by(now.requests - before.requests);
        *of(&mut self.card.cpu_ms_per_acknowledged_operation) = by(now.good() - before.good());
        Ok(())
    }

    /// Starts Banyan before the monolith, turns the customers to it, and waits until all rows are copied.
    async fn put_gateway_in(&mut self) -> anyhow::Result<Operator> {
        self.enter(Phase::Copying);
        let installation = self.system.start_banyan(&self.shape).await?;
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

    async fn verify(&mut self, operator: &Operator) -> anyhow::Result<()> {
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
                self.wait(self.schedule.step).await?;
            }
            let ms = self.roll_back(operator).await?;
            self.progress.say(&format!("  round {round}: 1 → 10 → 50 → 100 % and back in {ms:.0} ms"));
            self.wait(self.schedule.step).await?;
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
