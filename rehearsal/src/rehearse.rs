//! One rehearsal from the first server to the scorecard.

use anyhow::{Context as _, bail};
use banyan_runtime::clock;
use std::path::Path;
use std::time::Duration;

use crate::audit::{self, Evidence, mails, read, shortened};
use crate::control::Operator;
use crate::installation::{Layout, Shape};
use crate::keys::Keys;
use crate::load::client::HttpClient;
use crate::load::record::{Failure, Phase, Record};
use crate::load::request::Town;
use crate::load::{Load, LoadOptions};
use crate::options::RunOptions;
use crate::phases::{self, Course, Lead};
use crate::progress::{Progress, phase_name};
use crate::report;
use crate::rest;
use crate::scorecard::{Latencies, Middle, Scorecard, SuccessRate, Tail, Verified, median, tenths};
use crate::system::System;

/// Failures and faults that are printed.
const PRINTED: usize = 20;
/// Merchants of the seeded shop.
const MERCHANTS: u64 = 10;
/// Users who act only when a crowd comes.
const GUESTS: u64 = 20;
/// Requests in flight towards the monolith beyond one for each customer.
const IN_FLIGHT_SPARE: u64 = 8;
/// A customer waits this much longer than the provider hangs before giving up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Carries the rehearsal out; whether every bound holds.
///
/// # Errors
/// A server cannot be started, or the audit cannot be carried out.
pub async fn run(options: &RunOptions) -> anyhow::Result<bool> {
    let start = clock::instant();
    let mut keys = Keys::open().context("the terminal cannot be set up for keys")?;
    if options.by_hand && !keys.are_there() {
        bail!("--by-hand needs a terminal: only keys act, and only `q` ends it");
    }
    let progress = Progress::new();
    let schedule = options.schedule();
    let mut system = System::start(options, &progress).await?;
    let first_id = system.first_new_id().await?;
    // Each customer needs some seconds between two requests, as people do.
    let browsers = ((options.rate * 2.4) as u64).clamp(20, options.users / 2);
    let who = LoadOptions { rate: options.rate, browsers, users: options.users - GUESTS, seed: options.seed };
    let mut load = customers(&system, who, schedule.outage.unwrap_or_default())?;
    load.log_in(|done| progress.doing(&format!("customers log in: {done}"))).await?;
    load.invite(options.users - GUESTS + 1..=options.users).await?;

    let mut card = Scorecard { seed: options.seed, ..Scorecard::default() };
    load.record().begin();
    load.start();
    let watching = progress.watch(load.record().clone());
    let mut course = Course {
        system: &mut system,
        load: &mut load,
        progress: &progress,
        schedule,
        shape: shape(options, browsers)?,
        rate: options.rate,
        keys: &mut keys,
        pressed: None,
        card: &mut card,
    };
    if course.keys.are_there() {
        progress.show_keys();
    }
    let outcome = course.run(if options.by_hand { Lead::ByHand } else { Lead::Scheduled }).await;
    let schedule = course.schedule;
    load.stop().await?;
    drop((watching, keys));
    progress.finish();
    if let Err(error) = outcome {
        card.problems.push(format!("{error:#}"));
    }

    take_figures(&mut card, load.record());
    if let Err(error) = examine(&mut card, &mut system, (&load, first_id)).await {
        card.problems.push(format!("the audit could not be carried out: {error:#}"));
    }
    card.seconds = tenths(start.elapsed().as_secs_f64());
    card.judge(&schedule);
    show(&card, options);
    if let Some(file) = &options.json {
        write_json(&card, file)?;
    }
    report::write(&card, &load.record().timeline(|timeline| timeline.clone()), options.report.as_deref())?;
    Ok(card.passed)
}

/// Banyan's configuration, where it differs from the usual one.
fn shape(options: &RunOptions, browsers: u64) -> anyhow::Result<Shape> {
    // As many requests at the monolith as there are customers: so nobody but a crowd is ever shed.
    let changes = format!("[gateway]\nin_flight_max = {}", browsers + IN_FLIGHT_SPARE).parse()?;
    let layout = if options.together { Layout::Together } else { Layout::Apart };
    Ok(Shape { layout, changes, armed: None })
}

/// Customers of the monolith; `outage` says how long the provider may hang.
///
/// # Errors
/// Laravel's key cannot be read.
pub fn customers(system: &System, options: LoadOptions, outage: Duration) -> anyhow::Result<Load> {
    let client = HttpClient::new(&system.monolith_url(), outage + PATIENCE);
    let town = Town::new(format!("rh{}", options.seed), MERCHANTS, &system.app_key())?;
    Ok(Load::new(client, town, options))
}

fn take_figures(card: &mut Scorecard, record: &Record) {
    let live = record.live();
    card.requests = live.requests;
    card.failed = live.failed;
    card.failed_by_provider = live.failed_by_provider;
    card.failed_while_down = live.failed_while_down;
    card.shed = live.shed;
    card.success_rate = SuccessRate::of(live.good() + live.failed, live.failed);
    if let Some(spike) = &mut card.spike {
        (spike.monolith, spike.service) = record.spike();
    }
    card.failures = record.failures();
    card.waiting_max = record.waiting_max() as u64;
    card.latency_ms = Latencies {
        before: record.latency(Phase::Before).into(),
        through_gateway: record.latency(Phase::ThroughGateway).into(),
        after: record.latency(Phase::After).into(),
    };
    let by_step = record.latency_by_step().into_iter();
    card.latency_by_request_ms = by_step.map(|(step, q)| (step.to_owned(), q.into())).collect();
    let rollbacks = &card.rollbacks_ms;
    card.rollback_ms =
        Middle { p50: tenths(median(rollbacks)), max: rollbacks.iter().copied().fold(0.0, f64::max) };
}

/// Waits until both sides are at rest, then compares and audits them.
async fn examine(
    card: &mut Scorecard,
    system: &mut System,
    (load, first_id): (&Load, u64),
) -> anyhow::Result<()> {
    system.stop_scheduler();
    let banyan = system.banyan().context("Banyan was not started")?;
    let operator = banyan.operator();
    eprintln!("waiting until mails and streams are at rest");
    let mut database = read::connect(&system.root_url()).await?;
    let notify_was_killed = card.recoveries.iter().any(|recovery| recovery.fault.ends_with(" notify"));
    let rest = if notify_was_killed {
        rest::wait_after_crash(operator, &mut database).await
    } else {
        rest::wait(operator, &mut database).await
    };
    if let Err(error) = rest {
        card.problems.push(format!("{error:#}"));
    }
    take_migration(card, operator).await?;
    let handovers = operator.handovers(phases::HANDOVERS_MAX).await?;
    load.record().timeline(|timeline| timeline.tell(&handovers));
    eprintln!("comparing all rows, then searching both sides for every write");
    let verified = operator.verify().await.context("comparing all rows")?;
    card.verify = Verified { rows_compared: verified.rows_compared, mismatches: verified.mismatches };
    card.audit.faults.extend(verified.samples);
    let charges = system.provider().charges().await?;
    let evidence = Evidence {
        shop: read::shop(&mut database, charges).await?,
        monolith: read::monolith(&mut database).await?,
        service: read::service(&banyan.service_file()?)?,
    };
    let told: Vec<u64> = operator.keys("notifications", "id").await?;
    if !told.iter().eq(evidence.service.notifications.keys()) {
        card.problems.push("the service tells other notifications than its file holds".into());
    }
    let report = audit::audit(&load.record().writes(), &evidence);
    card.writes_acknowledged = report.acknowledged;
    card.writes_lost = report.lost;
    card.writes_doubled = report.doubled;
    let samples = std::mem::take(&mut card.audit.faults);
    card.audit = report;
    card.audit.faults.extend(samples);
    card.mails = mails::audit(&system.mails()?, &evidence.monolith, first_id);
    card.mails_doubled = card.mails.doubled;
    Ok(())
}

async fn take_migration(card: &mut Scorecard, operator: &Operator) -> anyhow::Result<()> {
    let status = operator.status().await?;
    card.handovers = status.handovers;
    card.handovers_aborted = status.aborted;
    card.buckets_moved = phases::buckets_moved(operator).await?;
    let holds = operator.holds().await?;
    card.hold_ms = holds.hold_ms.into();
    card.held = holds.hold_ms.count;
    card.drained_write_ms_max = tenths(holds.drained_write_ms_max);
    card.handover_hold_ms = phases::handover_holds(operator).await?.into();
    let lag = operator.sync_status().await?.lag_ms;
    card.lag_ms = Tail { p50: tenths(lag.p50), p99: tenths(lag.p99) };
    Ok(())
}

fn show(card: &Scorecard, options: &RunOptions) {
    let kept = if options.verbose { usize::MAX } else { PRINTED };
    let failed = |f: &Failure| format!("{} while {}: {}", f.step, phase_name(f.phase), f.reason);
    let failures: Vec<String> = card.failures.iter().map(failed).collect();
    let lists =
        [("failures", &failures), ("faults", &card.audit.faults), ("faults of mails", &card.mails.faults)];
    for (title, lines) in lists.into_iter().filter(|(_, lines)| !lines.is_empty()) {
        println!("\n{title}:");
        shortened(lines, kept).iter().for_each(|line| println!("  {line}"));
    }
    println!("\nScorecard");
    card.lines().iter().for_each(|line| println!("{line}"));
    if !card.broken.is_empty() {
        println!("\nbroken bounds:");
        card.broken.iter().for_each(|line| println!("  {line}"));
    }
    println!("\n{}", card.verdict());
}

fn write_json(card: &Scorecard, file: &Path) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(card)? + "\n";
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
