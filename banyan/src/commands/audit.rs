//! `banyan audit`: who changed what, when and why.

use banyan_core::protocol::migration::AuditRecord;
use banyan_runtime::client::RoleClient;
use serde_json::Value;
use std::process::ExitCode;

use super::output::{Table, print_json};

/// Prints the records and checks the chain; fails where the chain is broken.
pub async fn run(control: RoleClient, json: bool) -> anyhow::Result<ExitCode> {
    let mut records: Vec<AuditRecord> = Vec::new();
    loop {
        let after = records.last().map_or(0, |r| r.id);
        let page: Vec<AuditRecord> = control.get(&format!("/v1/audit?after={after}")).await?;
        if page.is_empty() {
            break;
        }
        records.extend(page);
    }
    let _: Value = control.get("/v1/audit/verify").await?;
    if json {
        print_json(&records)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["id", "unix ms", "by", "action", "detail", "reason"]);
    for r in &records {
        table.row(vec![
            r.id.to_string(),
            r.at_ms.to_string(),
            r.by.clone(),
            r.action.clone(),
            r.detail.clone(),
            r.reason.clone(),
        ]);
    }
    table.print();
    println!("the chain of {} records is whole", records.len());
    Ok(ExitCode::SUCCESS)
}
