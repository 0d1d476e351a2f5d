//! `banyan fence …`: the objects in the monolith's database.

use crate::cli::{Fence, OfCapability};
use banyan_core::protocol::monolith::OfCapability as Named;
use banyan_runtime::client::RoleClient;
use serde_json::Value;
use std::process::ExitCode;

use super::output::{Table, print_json};

/// Runs the command against sync.
pub async fn run(command: Fence, sync: RoleClient) -> anyhow::Result<ExitCode> {
    let (path, of) = match command {
        Fence::Install(of) => (Some("/v1/fence/install"), of),
        Fence::Remove(of) => (Some("/v1/fence/remove"), of),
        Fence::Check(of) => (None, of),
    };
    if let Some(path) = path {
        let _: Value = sync.post(path, &Named { capability: of.capability.clone() }).await?;
    }
    show(&sync, of).await
}

async fn show(sync: &RoleClient, of: OfCapability) -> anyhow::Result<ExitCode> {
    let fence: Value = sync.get(&format!("/v1/fence?capability={}", of.capability)).await?;
    if of.json {
        print_json(&fence)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["object", "kind", "state"]);
    for object in fence["objects"].as_array().into_iter().flatten() {
        let text = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
        table.row(vec![text("name"), text("kind"), text("state")]);
    }
    table.print();
    Ok(ExitCode::SUCCESS)
}
