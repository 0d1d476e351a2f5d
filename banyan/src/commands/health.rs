//! `banyan health`: whether the roles answer, for a container's health check.

use crate::cli::Role;
use crate::roles::Installation;
use anyhow::Context as _;
use std::process::ExitCode;
use std::time::Duration;

/// How long a role may take to answer. The image's health check waits longer.
const ANSWER_MAX: Duration = Duration::from_secs(4);

/// Asks each role in turn.
///
/// # Errors
/// Names the first that does not answer.
pub async fn run(installation: &Installation, roles: &[Role]) -> anyhow::Result<ExitCode> {
    for role in roles {
        let client = installation.role(*role).timeout(ANSWER_MAX);
        let _: String = client.get("/healthz").await.with_context(|| format!("{role:?} is not healthy"))?;
    }
    Ok(ExitCode::SUCCESS)
}
