//! `banyan conflicts …`: what came after the monolith had taken over without the service.

use crate::cli::{Conflicts, Settle};
use banyan_core::protocol::conflict::{self, Conflict};
use banyan_runtime::client::RoleClient;
use std::process::ExitCode;

use super::output::{Table, print_json};

/// Runs the command against sync.
pub async fn run(command: Conflicts, sync: RoleClient) -> anyhow::Result<ExitCode> {
    match command {
        Conflicts::List(of) => {
            let all: Vec<Conflict> = sync.get(&format!("/v1/conflicts?capability={}", of.capability)).await?;
            show(&all, of.json)?;
        }
        Conflicts::Show { id, of } => {
            let path = format!("/v1/conflicts/{id}?capability={}", of.capability);
            let one: Conflict = sync.get(&path).await?;
            print_json(&one)?;
        }
        Conflicts::Replay(decision) => settle(&sync, "replay", decision).await?,
        Conflicts::Discard(decision) => settle(&sync, "discard", decision).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn settle(sync: &RoleClient, action: &str, decision: Settle) -> anyhow::Result<()> {
    let Settle { id, of, reason, by } = decision;
    let request = conflict::Settle { capability: of.capability, by, reason };
    let one: Conflict = sync.post(&format!("/v1/conflicts/{id}/{action}"), &request).await?;
    show(&[one], of.json)
}

fn show(all: &[Conflict], json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&all);
    }
    let mut table = Table::new(&["id", "bucket", "subject", "event", "queued at", "settled"]);
    for one in all {
        let bucket = one.event.bucket.map(|bucket| bucket.to_string()).unwrap_or_default();
        let settled = one.settled.as_ref().map(|s| format!("{} by {}: {}", s.how, s.by, s.reason));
        table.row(vec![
            one.id.to_string(),
            bucket,
            one.event.subject.clone(),
            one.event.kind.clone(),
            one.queued_at.clone(),
            settled.unwrap_or_default(),
        ]);
    }
    table.print();
    Ok(())
}
