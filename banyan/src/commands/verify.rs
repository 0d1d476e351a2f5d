//! `banyan verify`: compares both sides row by row.

use banyan_core::protocol::monolith::{OfCapability, VerifyReport};
use banyan_runtime::client::RoleClient;
use std::process::ExitCode;
use std::time::Duration;

use super::output::print_json;

/// A comparison of large tables takes its time.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Runs the comparison; the exit code is 1 where rows differ.
pub async fn run(sync: RoleClient, capability: String, json: bool) -> anyhow::Result<ExitCode> {
    let report: VerifyReport =
        sync.timeout(PATIENCE).post("/v1/verify", &OfCapability { capability }).await?;
    if json {
        print_json(&report)?;
    } else {
        println!("{} rows compared, {} differ", report.rows_compared, report.mismatches);
        report.samples.iter().for_each(|sample| println!("  {sample}"));
    }
    Ok(if report.mismatches == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
