//! `banyan migration …`: asks control, shows progress, prints a table or JSON.

use crate::cli::{Change, Migration, Move, Rollback};
use anyhow::{Context as _, bail};
use banyan_core::protocol::migration::{HandoverOutcome, HandoverReport, MigrationStatus, MoveRequest};
use banyan_runtime::client::RoleClient;
use banyan_runtime::clock;
use indicatif::{ProgressBar, ProgressStyle};
use std::process::ExitCode;
use std::time::Duration;

use super::exposure;
use super::output::{Table, print_json};

/// How often a waiting command looks at the migration.
const POLL: Duration = Duration::from_millis(100);

/// Runs the command against control.
pub async fn run(command: Migration, control: RoleClient) -> anyhow::Result<ExitCode> {
    match command {
        Migration::Status { capability, json } => status(&control, capability, json).await,
        Migration::Advance(wish) => change(&control, "advance", wish).await,
        Migration::Rollback(Rollback { force: true, wish }) => force(&control, wish).await,
        Migration::Rollback(Rollback { wish, .. }) => change(&control, "rollback", wish).await,
        Migration::Pause(what) => set(&control, "pause", what).await,
        Migration::Resume(what) => set(&control, "resume", what).await,
        Migration::Handovers { capability, json } => handovers(&control, &capability, json).await,
    }
}

async fn status(control: &RoleClient, capability: Option<String>, json: bool) -> anyhow::Result<ExitCode> {
    let all: Vec<MigrationStatus> = match capability {
        Some(name) => vec![control.get(&format!("/v1/migrations/{name}")).await?],
        None => control.get("/v1/migrations").await?,
    };
    show(&all, json)?;
    Ok(ExitCode::SUCCESS)
}

async fn set(control: &RoleClient, action: &str, what: Change) -> anyhow::Result<ExitCode> {
    let request = MoveRequest { percent: None, by: what.by, reason: what.reason, wait_ms: 0 };
    let status: MigrationStatus =
        control.post(&format!("/v1/migrations/{}/{action}", what.capability), &request).await?;
    show(&[status], what.json)?;
    Ok(ExitCode::SUCCESS)
}

async fn change(control: &RoleClient, action: &str, wish: Move) -> anyhow::Result<ExitCode> {
    let Move { percent, wait, change } = wish;
    let request = MoveRequest { percent, by: change.by, reason: change.reason, wait_ms: 0 };
    let path = format!("/v1/migrations/{}", change.capability);
    let asked: MigrationStatus = control
        .post(&format!("{path}/{action}"), &request)
        .await
        .with_context(|| format!("control refused to {action} `{}`", change.capability))?;
    let reached = follow(control, &path, asked, Duration::from_secs(wait)).await?;
    let done = arrived(&reached);
    show(std::slice::from_ref(&reached), change.json)?;
    if !done && wait > 0 {
        let causes = reached.waiting_for.join("; ");
        bail!("{} buckets have not moved after {wait} s: {causes}", reached.stragglers.len());
    }
    Ok(ExitCode::SUCCESS)
}

/// Goes back without the service, and prints what may be lost.
async fn force(control: &RoleClient, wish: Move) -> anyhow::Result<ExitCode> {
    let json = wish.change.json;
    let capability = wish.change.capability.clone();
    let outcome = change(control, "force", wish).await;
    if !json {
        let status: MigrationStatus = control.get(&format!("/v1/migrations/{capability}")).await?;
        if let Some(cut) = &status.cut {
            exposure::print(&cut.exposure);
        }
    }
    outcome
}

fn arrived(status: &MigrationStatus) -> bool {
    status.stragglers.is_empty()
        && (status.percent - status.wanted_percent).abs() < 0.05
        && status.handover.as_ref().is_none_or(|h| h.outcome != HandoverOutcome::Running)
}

async fn follow(
    control: &RoleClient,
    path: &str,
    mut status: MigrationStatus,
    wait: Duration,
) -> anyhow::Result<MigrationStatus> {
    let bar = ProgressBar::new(100)
        .with_style(ProgressStyle::with_template("{prefix} {wide_bar} {pos:>3} % at the service  {msg}")?);
    bar.set_prefix(status.capability.clone());
    let start = clock::instant();
    while !arrived(&status) && start.elapsed() < wait {
        bar.set_position(status.percent.round() as u64);
        bar.set_message(match status.stragglers.len() {
            0 => format!("to {} %", status.wanted_percent),
            left => format!("to {} %, {left} buckets wait", status.wanted_percent),
        });
        tokio::time::sleep(POLL).await;
        status = control.get(path).await?;
    }
    bar.finish_and_clear();
    Ok(status)
}

fn show(all: &[MigrationStatus], json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&all);
    }
    let mut table =
        Table::new(&["capability", "team", "at service", "wanted", "state", "handovers", "restored"]);
    for s in all {
        let state = match &s.handover {
            Some(h) if h.outcome == HandoverOutcome::Running => format!("moving to {}", h.to),
            _ if s.cut.as_ref().is_some_and(|cut| cut.readmitting) => "service to be admitted".into(),
            _ if s.cut.is_some() => "service given up".into(),
            _ if s.paused => "paused".into(),
            _ if s.stragglers.is_empty() => "steady".into(),
            _ => format!("{} buckets wait", s.stragglers.len()),
        };
        table.row(vec![
            s.capability.clone(),
            s.owner.clone(),
            format!("{:.1} %", s.percent),
            format!("{:.1} %", s.wanted_percent),
            state,
            s.handovers.to_string(),
            s.aborted.to_string(),
        ]);
    }
    table.print();
    for s in all.iter().filter(|s| s.degraded_writes > 0) {
        println!(
            "{}: {} writes were acknowledged before the monolith had them",
            s.capability, s.degraded_writes
        );
    }
    for s in all {
        s.waiting_for.iter().for_each(|cause| println!("{} waits for: {cause}", s.capability));
    }
    Ok(())
}

async fn handovers(control: &RoleClient, capability: &str, json: bool) -> anyhow::Result<ExitCode> {
    let path = format!("/v1/handovers?capability={capability}&limit=50");
    let all: Vec<HandoverReport> = control.get(&path).await?;
    if json {
        print_json(&all)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["owner epoch", "to", "buckets", "left", "outcome", "hold ms", "steps (ms)"]);
    for h in all {
        let outcome = match h.outcome {
            HandoverOutcome::Running => "running",
            HandoverOutcome::Done => "done",
            HandoverOutcome::Restored => "restored",
        };
        let steps: Vec<String> = h.steps.iter().map(|(name, ms)| format!("{name} {ms}")).collect();
        table.row(vec![
            h.owner_epoch.to_string(),
            h.to.to_string(),
            h.buckets.len().to_string(),
            h.left.len().to_string(),
            outcome.into(),
            h.hold_ms.to_string(),
            steps.join(", "),
        ]);
    }
    table.print();
    Ok(ExitCode::SUCCESS)
}
