//! The crash soak: round after round something is killed while customers act and buckets move.
//!
//! Each role is a process of its own; what has ended is started again, as a supervisor would. Nothing else is
//! done by hand. At the end of a round everything must have recovered: the share that was asked for is
//! reached, requests succeed again, and both sides are searched for every write since the beginning. While
//! something is down requests may fail, but no answer may contradict what was acknowledged, and each must be
//! answered. Servers and customers are kept for some rounds and then begun anew.

mod check;
mod plan;

use anyhow::{Context as _, bail};
use banyan_core::protocol::monolith::OfCapability;
use banyan_runtime::clock;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::control::{CAPABILITY, Operator, POLL, arrived, standing};
use crate::installation::{Layout, Shape};
use crate::load::record::Phase;
use crate::load::{Load, LoadOptions};
use crate::options::{CrashOptions, RunOptions};
use crate::progress::Progress;
use crate::rehearse;
use crate::scorecard::{Middle, median, tenths};
use crate::system::System;
use check::Check;
use plan::{Fault, Plan};

/// Rounds between two beginnings with new servers.
const ROUNDS_PER_SYSTEM: u64 = 50;
/// How long a share that was asked for is waited for before the next is.
const SHARE_MAX: Duration = Duration::from_millis(1500);
/// How long recovery may take.
const RECOVERY_MAX: Duration = Duration::from_secs(60);
/// How long requests must succeed after it.
const CALM: Duration = Duration::from_millis(400);

/// What a soak found.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// Rounds that were carried out.
    pub rounds: u64,
    /// Rounds that held everything.
    pub passed: u64,
    /// The seed.
    pub seed: u64,
    /// How long it took.
    pub seconds: f64,
    /// Requests, those included that failed while something was down.
    pub requests: u64,
    /// Requests that failed while something was down.
    pub failed_meanwhile: u64,
    /// Writes that were acknowledged and found on both sides.
    pub writes_acknowledged: u64,
    /// From the kill until the share was reached and every role answered.
    pub recovery_ms: Middle,
    /// How often each step or process was killed.
    pub kills: BTreeMap<String, u64>,
    /// Failpoints whose pass did not come in their round.
    pub not_reached: BTreeMap<String, u64>,
    /// What went wrong, by round.
    pub faults: Vec<String>,
}

/// Carries the soak out; whether every round passed.
///
/// # Errors
/// A server cannot be started.
pub async fn run(options: &CrashOptions) -> anyhow::Result<bool> {
    let start = clock::instant();
    let progress = Progress::new();
    let mut summary = Summary { seed: options.seed, ..Summary::default() };
    let mut recoveries = Vec::new();
    let end = options.from + options.rounds;
    let mut running: Option<Soak> = None;
    for number in options.from..end {
        let plan = Plan::of(options.seed, number);
        progress.doing(&format!("round {} of {end}: {}", number + 1, plan.fault));
        if number % ROUNDS_PER_SYSTEM == 0 || plan.fault.is_of_the_beginning() {
            running.take().inspect(|soak| soak.count(&mut summary));
        }
        let soak = match &mut running {
            Some(soak) => soak,
            None => running.insert(Soak::start(options, &progress, &plan).await?),
        };
        let faults = soak.round(&plan, (&mut summary, &mut recoveries)).await;
        summary.rounds += 1;
        if !faults.is_empty() {
            progress.say(&format!("round {number} ({}) failed", plan.fault));
            summary.faults.extend(faults.iter().map(|fault| format!("round {number}: {fault}")));
            break;
        }
        summary.passed += 1;
    }
    running.inspect(|soak| soak.count(&mut summary));
    progress.finish();
    summary.recovery_ms =
        Middle { p50: tenths(median(&recoveries)), max: recoveries.iter().copied().fold(0.0, f64::max) };
    summary.seconds = tenths(start.elapsed().as_secs_f64());
    show(&summary, options);
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&summary)? + "\n";
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(summary.faults.is_empty())
}

fn show(summary: &Summary, options: &CrashOptions) {
    println!(
        "{} of {} rounds passed in {:.0} s, seed {}: {} requests, {} failed while something was down, \
         {} acknowledged writes on both sides once, recovery p50 {:.0} max {:.0} ms",
        summary.passed,
        summary.rounds,
        summary.seconds,
        summary.seed,
        summary.requests,
        summary.failed_meanwhile,
        summary.writes_acknowledged,
        summary.recovery_ms.p50,
        summary.recovery_ms.max
    );
    summary.faults.iter().for_each(|fault| println!("  {fault}"));
    if !summary.faults.is_empty() {
        let failed = options.from + summary.rounds - 1;
        let first = options.from.max(failed - failed % ROUNDS_PER_SYSTEM);
        let again = failed - first + 1;
        println!("again: bin/soak crash --seed {} --from {first} --rounds {again} --keep", summary.seed);
    }
}

/// Servers and customers of some rounds.
struct Soak {
    system: System,
    load: Load,
    operator: Operator,
    check: Check,
}

impl Soak {
    async fn start(options: &CrashOptions, progress: &Progress, plan: &Plan) -> anyhow::Result<Self> {
        let seed = options.seed.wrapping_add(plan.round);
        let run = RunOptions { users: options.users, rate: options.rate, seed, ..options.run() };
        let mut system = System::start(&run, progress).await?;
        let first_id = system.first_new_id().await?;
        let customers = LoadOptions { rate: run.rate, browsers: run.users / 4, users: run.users, seed };
        let mut load = rehearse::customers(&system, customers, Duration::ZERO)?;
        load.log_in(|_| ()).await?;
        // A restarted control waits for every lease it may have granted: short ones keep rounds short.
        let changes = "[control]\nlease_ms = 600".parse()?;
        let armed = match &plan.fault {
            Fault::AtStep { role, failpoint, .. } if plan.fault.is_of_the_beginning() => {
                Some((role.clone(), failpoint.clone()))
            }
            _ => None,
        };
        let shape = Shape { layout: Layout::Apart, changes, armed };
        let installation = system.start_banyan(&shape).await?;
        load.turn_to(&installation.url());
        let operator = installation.operator().clone();
        let of = OfCapability { capability: CAPABILITY.into() };
        let begun = clock::instant();
        loop {
            match operator.sync_status().await {
                Ok(status) if !status.fence_installed => {
                    // Sync may be killed meanwhile: it is asked again.
                    let _ = operator.sync.post::<_, serde_json::Value>("/v1/fence/install", &of).await;
                }
                Ok(status) if status.copied && status.forward_live => break,
                _ => {}
            }
            if begun.elapsed() > RECOVERY_MAX {
                bail!("the rows are not copied within {} s", RECOVERY_MAX.as_secs());
            }
            system.tend()?;
            tokio::time::sleep(POLL).await;
        }
        Ok(Self { system, load, operator, check: Check::new(first_id) })
    }

    fn count(&self, summary: &mut Summary) {
        let live = self.load.record().live();
        summary.requests += live.requests;
        summary.failed_meanwhile += live.failed;
        summary.writes_acknowledged += self.check.acknowledged;
    }

    /// One round; what went wrong in it.
    async fn round(
        &mut self,
        plan: &Plan,
        (summary, recoveries): (&mut Summary, &mut Vec<f64>),
    ) -> Vec<String> {
        self.load.record().enter(Phase::Rounds);
        self.load.start();
        let outcome = self.crash_and_recover(plan).await;
        if outcome.is_ok() {
            self.load.record().enter(Phase::After);
            tokio::time::sleep(CALM).await;
        }
        let stopped = self.load.stop().await;
        match outcome.and_then(|recovery| stopped.map(|()| recovery)) {
            Err(error) => return vec![format!("{error:#}")],
            Ok(recovery) => {
                let book = if recovery.is_some() { &mut summary.kills } else { &mut summary.not_reached };
                *book.entry(plan.fault.name().to_owned()).or_default() += 1;
                // At the beginning nothing had to recover.
                let recovery = recovery.filter(|_| !plan.fault.is_of_the_beginning());
                recoveries.extend(recovery.map(|took| tenths(took.as_secs_f64() * 1000.0)));
            }
        }
        match self.check.round(&mut self.system, &self.load).await {
            Ok(faults) => faults,
            Err(error) => vec![format!("the audit could not be carried out: {error:#}")],
        }
    }

    /// How long recovery took; `None` where the failpoint was not reached.
    async fn crash_and_recover(&mut self, plan: &Plan) -> anyhow::Result<Option<Duration>> {
        let mut killed = self.arm(&plan.fault).await?;
        let begun = clock::instant();
        for share in &plan.shares {
            let asked = clock::instant();
            let mut heard = false;
            while asked.elapsed() < SHARE_MAX && !self.reached(*share).await {
                // Refused where control is down; whoever runs it asks again.
                heard = heard || self.ask(*share).await.is_ok();
                self.kill_in_time(&plan.fault, begun, &mut killed)?;
                let waits = self.system.banyan_mut()?.awaits_end();
                if self.system.tend()? > 0 && !waits {
                    killed.get_or_insert_with(clock::instant);
                }
                tokio::time::sleep(POLL).await;
            }
        }
        // A moment later than the last share was reached.
        self.kill_in_time(&plan.fault, begun.checked_sub(SHARE_MAX).unwrap_or(begun), &mut killed)?;
        if let (Fault::AtStep { role, .. }, None) = (&plan.fault, killed) {
            self.system.banyan_mut()?.restart(role, None)?;
        }
        self.recover(plan.shares.last().copied().unwrap_or_default()).await?;
        Ok(killed.map(|killed| killed.elapsed()))
    }

    /// Starts the role that will kill itself, and waits until it is at work or has done so already.
    async fn arm(&mut self, fault: &Fault) -> anyhow::Result<Option<Instant>> {
        let Fault::AtStep { role, failpoint, first } = fault else { return Ok(None) };
        let banyan = self.system.banyan_mut()?;
        if fault.is_of_the_beginning() {
            return Ok((banyan.revived() > 0).then(clock::instant));
        }
        match first {
            Some(first) => {
                banyan.restart(role, Some(first))?;
                banyan.arm_next(role, failpoint);
            }
            None => banyan.restart(role, Some(failpoint))?,
        }
        let begun = clock::instant();
        while begun.elapsed() < RECOVERY_MAX {
            let waits = self.system.banyan_mut()?.awaits_end();
            if self.system.tend()? > 0 && !waits {
                return Ok(Some(clock::instant()));
            }
            let settled = self.operator.status().await.is_ok_and(|s| arrived(&s, s.wanted_percent));
            if settled && self.system.banyan_mut()?.readiness().await.is_ok() {
                break;
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(None)
    }

    fn kill_in_time(
        &mut self,
        fault: &Fault,
        begun: Instant,
        killed: &mut Option<Instant>,
    ) -> anyhow::Result<()> {
        let Fault::AtMoment { victim, after } = fault else { return Ok(()) };
        if killed.is_some() || begun.elapsed() < *after {
            return Ok(());
        }
        *killed = Some(clock::instant());
        match *victim {
            "mariadb" => self.system.restart_database(),
            "php-fpm" => self.system.restart_php(),
            role => self.system.banyan_mut()?.restart(role, None),
        }
    }

    /// Waits until all is well again, asking for the share until control has heard it.
    async fn recover(&mut self, share: f64) -> anyhow::Result<()> {
        let begun = clock::instant();
        loop {
            self.system.tend()?;
            let ready = self.system.banyan_mut()?.readiness().await;
            let status = self.operator.status().await;
            let cause = match (ready, status) {
                (Ok(()), Ok(status)) if arrived(&status, share) => return Ok(()),
                (Ok(()), Ok(status)) => {
                    if (status.wanted_percent - share).abs() > 1e-9 {
                        let _ = self.ask(share).await;
                    }
                    standing(&status)
                }
                (Err(error), _) | (_, Err(error)) => format!("{error:#}"),
            };
            if begun.elapsed() > RECOVERY_MAX {
                bail!("not recovered within {} s: {cause}", RECOVERY_MAX.as_secs());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn ask(&self, share: f64) -> anyhow::Result<()> {
        let wanted = self.operator.status().await?.wanted_percent;
        if (wanted - share).abs() > 1e-9 {
            self.operator.ask(share, share > wanted).await?;
        }
        Ok(())
    }

    async fn reached(&self, share: f64) -> bool {
        self.operator.status().await.is_ok_and(|status| arrived(&status, share))
    }
}
