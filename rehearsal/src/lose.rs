//! The loss of a service: under load, with everything at the service, its database is deleted and its process
//! killed; then everything goes back to the monolith without it, and the audit compares what is missing with
//! what the forced rollback has printed. Afterwards the service, empty, is admitted again and takes over anew.
//!
//! Reverse is held up just before, so that there is something to lose: a row lock on its tag, as a slow
//! transaction at the monolith might hold it.

use anyhow::{Context as _, bail, ensure};
use banyan_core::protocol::exposure::Exposure;
use banyan_core::protocol::migration::MigrationStatus;
use banyan_core::protocol::monolith::OfCapability;
use banyan_runtime::clock;
use mysql_async::prelude::Queryable as _;
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::audit::{self, Evidence, read};
use crate::control::{CAPABILITY, Operator, POLL, arrived, standing};
use crate::installation::{Layout, Shape};
use crate::load::record::{Failure, Phase};
use crate::load::writes::{Outcome, Write};
use crate::load::{Load, LoadOptions};
use crate::options::{DualWrite, LoseOptions};
use crate::progress::Progress;
use crate::rehearse;
use crate::rest;
use crate::scorecard::tenths;
use crate::system::System;

/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long customers act in each part.
const ACT: Duration = Duration::from_secs(3);
/// How long reverse is held up before the loss.
const HELD_UP: Duration = Duration::from_millis(1200);
/// Faults that are told.
const TOLD_MAX: usize = 8;

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// When writes at the service were acknowledged.
    pub dual_write: String,
    /// How long it took.
    pub seconds: f64,
    /// Requests.
    pub requests: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Writes that were acknowledged.
    pub writes_acknowledged: u64,
    /// Acknowledged writes that the forced rollback printed.
    pub printed: u64,
    /// Acknowledged writes that are missing.
    pub missing: u64,
    /// Of those, how many were not printed.
    pub missing_unprinted: u64,
    /// Printed writes that are not missing.
    pub printed_there: u64,
    /// From the command until everything was at the monolith.
    pub rollback_ms: f64,
    /// From the advance until the empty service, filled again, owned everything.
    pub readmission_ms: f64,
    /// Rows that differed at the end.
    pub mismatches: u64,
    /// What went wrong.
    pub faults: Vec<String>,
}

/// Carries it out; whether everything held.
///
/// # Errors
/// Something could not be carried out.
pub async fn run(options: &LoseOptions) -> anyhow::Result<bool> {
    let (start, progress) = (clock::instant(), Progress::new());
    let mut scene = Scene::start(options, &progress).await?;
    let mut summary = scene.play(&progress).await?;
    progress.finish();
    summary.dual_write = format!("{:?}", options.dual_write).to_lowercase();
    summary.seconds = tenths(start.elapsed().as_secs_f64());
    if options.dual_write == DualWrite::Wait && summary.missing > 0 {
        summary.faults.push(format!("{} acknowledged writes are lost in spite of `wait`", summary.missing));
    }
    println!(
        "{}: {} acknowledged writes, {} printed, {} missing, {} of them not printed; back in {:.0} ms, admitted \
         again in {:.0} ms, {} rows differ; {:.0} s",
        summary.dual_write,
        summary.writes_acknowledged,
        summary.printed,
        summary.missing,
        summary.missing_unprinted,
        summary.rollback_ms,
        summary.readmission_ms,
        summary.mismatches,
        summary.seconds
    );
    summary.faults.iter().for_each(|fault| println!("  {fault}"));
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&summary)? + "\n";
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(summary.faults.is_empty())
}

struct Scene {
    system: System,
    load: Load,
    operator: Operator,
}

impl Scene {
    async fn start(options: &LoseOptions, progress: &Progress) -> anyhow::Result<Self> {
        let run = options.run();
        let mut system = System::start(&run, progress).await?;
        let (users, seed) = (run.users, run.seed);
        let customers = LoadOptions { rate: run.rate, browsers: users / 2, users, seed };
        let mut load = rehearse::customers(&system, customers, Duration::ZERO)?;
        load.log_in(|_| ()).await?;
        let changes = match options.dual_write {
            DualWrite::Async => "[control]\nlease_ms = 1500\n[capability]\ndual_write = 'async'",
            DualWrite::Wait => "[control]\nlease_ms = 1500\n[capability]\ndual_write = 'wait'\nstrict = true",
        };
        let shape = Shape { layout: Layout::Apart, changes: changes.parse()?, armed: None };
        let installation = system.start_banyan(&shape).await?;
        load.turn_to(&installation.url());
        let operator = installation.operator().clone();
        let of = OfCapability { capability: CAPABILITY.into() };
        let _: serde_json::Value = operator.sync.post("/v1/fence/install", &of).await?;
        Ok(Self { system, load, operator })
    }

    async fn play(&mut self, progress: &Progress) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        self.load.record().enter(Phase::Rounds);
        self.load.start();
        progress.doing("everything goes to the service");
        self.filled().await?;
        self.operator.move_to(100.0, true, PATIENCE).await?;
        tokio::time::sleep(ACT).await;
        progress.doing("the service is lost with its database");
        self.lose().await?;
        tokio::time::sleep(ACT / 6).await;
        let begun = clock::instant();
        let exposure = self.force().await?;
        summary.rollback_ms = tenths(begun.elapsed().as_secs_f64() * 1000.0);
        self.load.record().take_failures();
        self.load.record().enter(Phase::After);
        tokio::time::sleep(ACT).await;
        progress.doing("the empty service is admitted again");
        self.system.tend()?;
        self.filled().await?;
        let begun = clock::instant();
        self.operator.move_to(100.0, true, PATIENCE).await?;
        summary.readmission_ms = tenths(begun.elapsed().as_secs_f64() * 1000.0);
        tokio::time::sleep(ACT / 2).await;
        self.load.stop().await?;
        summary.faults.extend(refused(&self.load.record().take_failures()));
        self.compare(&exposure, &mut summary).await?;
        Ok(summary)
    }

    /// Waits until the service has every row.
    async fn filled(&self) -> anyhow::Result<()> {
        let begun = clock::instant();
        loop {
            let cause = match self.operator.sync_status().await {
                Ok(s) if s.copied && s.forward_live && s.reverse_live && s.fence_installed => return Ok(()),
                Ok(status) => format!("{:?}", status.faults),
                Err(error) => format!("{error:#}"),
            };
            if begun.elapsed() > PATIENCE {
                bail!("the rows are not copied within {} s: {cause}", PATIENCE.as_secs());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn lose(&mut self) -> anyhow::Result<()> {
        let mut database = read::connect(&self.system.root_url()).await?;
        database.query_drop("START TRANSACTION").await?;
        let sql = "SELECT position FROM banyan_tag WHERE capability = ? FOR UPDATE";
        let _: Vec<u64> = database.exec(sql, (CAPABILITY,)).await?;
        tokio::time::sleep(HELD_UP).await;
        self.system.banyan_mut()?.lose_service()?;
        database.query_drop("ROLLBACK").await?;
        database.disconnect().await?;
        Ok(())
    }

    /// As an operator does it; what it printed.
    async fn force(&self) -> anyhow::Result<Exposure> {
        let banyan = self.system.banyan().context("Banyan was not started")?;
        let mut command = banyan.command(&["migration", "rollback", "--force", "--json"]);
        command.args(["--reason", "its database is gone", "--by", "rehearsal"]);
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let failed = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "the forced rollback failed: {failed}{said}");
        let all: Vec<MigrationStatus> = serde_json::from_str(&said).context("what it printed")?;
        let status = all.into_iter().next().context("it printed nothing")?;
        ensure!(arrived(&status, 0.0), "the forced rollback ended too early: {}", standing(&status));
        Ok(status.cut.context("it printed no exposure")?.exposure)
    }

    /// What is missing against what was printed.
    async fn compare(&mut self, exposure: &Exposure, summary: &mut Summary) -> anyhow::Result<()> {
        let mut database = read::connect(&self.system.root_url()).await?;
        rest::wait_after_crash(&self.operator, &mut database).await?;
        let verified = self.operator.verify().await.context("comparing all rows")?;
        summary.mismatches = verified.mismatches;
        summary.faults.extend(verified.samples.into_iter().take(TOLD_MAX));
        let charges = self.system.provider().charges().await?;
        let file = self.system.banyan().context("Banyan was not started")?.service_file()?;
        let evidence = Evidence {
            shop: read::shop(&mut database, charges).await?,
            monolith: read::monolith(&mut database).await?,
            service: read::service(&file)?,
        };
        database.disconnect().await?;
        let writes = self.load.record().writes();
        let printed: BTreeSet<String> =
            exposure.writes.iter().filter_map(|write| write.reference.clone()).collect();
        let missing = audit::audit(&writes, &evidence).missing;
        let list = |of: &BTreeSet<String>| of.iter().take(TOLD_MAX).cloned().collect::<Vec<_>>().join(", ");
        let unprinted: BTreeSet<String> = missing.difference(&printed).cloned().collect();
        let there: BTreeSet<String> = printed.difference(&missing).cloned().collect();
        if !unprinted.is_empty() {
            summary.faults.push(format!("missing and not printed: {}", list(&unprinted)));
        }
        if !there.is_empty() {
            summary.faults.push(format!("printed and not missing: {}", list(&there)));
        }
        let total = exposure.total().writes;
        if total != exposure.writes.len() as u64 || !exposure.unheard.is_empty() {
            summary.faults.push(format!("{total} writes are counted, {} listed", exposure.writes.len()));
        }
        // Whatever else the audit holds must hold without the printed ones.
        let others: Vec<Write> = writes.into_iter().map(|write| unsure(write, &printed)).collect();
        let report = audit::audit(&others, &evidence);
        summary.faults.extend(audit::shortened(&report.faults, TOLD_MAX));
        let live = self.load.record().live();
        (summary.requests, summary.failed) = (live.requests, live.failed);
        summary.writes_acknowledged = report.acknowledged + printed.len() as u64;
        summary.printed = printed.len() as u64;
        summary.missing = missing.len() as u64;
        summary.missing_unprinted = unprinted.len() as u64;
        summary.printed_there = there.len() as u64;
        Ok(())
    }
}

fn unsure(write: Write, printed: &BTreeSet<String>) -> Write {
    if printed.contains(&write.token) { Write { outcome: Outcome::Unknown, ..write } } else { write }
}

/// After the rollback nobody may be refused for what was lost with the service.
fn refused(failures: &[Failure]) -> Vec<String> {
    let of_server = |failure: &&Failure| failure.phase == Phase::After && failure.reason.starts_with('5');
    let told = failures.iter().filter(of_server).take(TOLD_MAX);
    told.map(|failure| format!("{} after the rollback: {}", failure.step, failure.reason)).collect()
}
