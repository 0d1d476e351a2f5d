//! `banyan letters …`: changes that could not be applied.

use crate::cli::Letters;
use banyan_core::protocol::import::{DeadLetter, Discard};
use banyan_runtime::client::RoleClient;
use serde_json::Value;
use std::process::ExitCode;

use super::output::{Table, print_json};

/// Runs the command against the capability's service.
pub async fn run(command: Letters, service: RoleClient) -> anyhow::Result<ExitCode> {
    match command {
        Letters::List(of) => {
            let letters: Vec<DeadLetter> = service.get("/v1/letters").await?;
            if of.json {
                print_json(&letters)?;
                return Ok(ExitCode::SUCCESS);
            }
            let mut table = Table::new(&["id", "bucket", "cause"]);
            letters
                .iter()
                .for_each(|l| table.row(vec![l.id.to_string(), l.bucket.to_string(), l.cause.clone()]));
            table.print();
        }
        Letters::Retry { id, .. } => {
            let _: Value = service.post(&format!("/v1/letters/{id}/retry"), &Value::Null).await?;
        }
        Letters::Discard { id, reason, .. } => {
            let _: Value = service.post(&format!("/v1/letters/{id}/discard"), &Discard { reason }).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
