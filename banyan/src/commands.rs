//! One file per command; this one dispatches.

mod audit;
mod check;
mod conflicts;
mod exposure;
mod fence;
mod health;
pub mod init;
mod letters;
mod migration;
mod output;
mod verify;

use crate::cli::{Cli, Command, Letters, Role};
use crate::roles::{self, Installation};
use crate::settings::Settings;
use banyan_runtime::{failpoints, telemetry};
use clap::CommandFactory as _;
use std::process::ExitCode;

/// Runs one command to its end.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Init { path, force } => return init::run(&path, force),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "banyan", &mut std::io::stdout());
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    failpoints::check()?;
    let settings = Settings::load(&cli.config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(dispatch(cli.command, settings))
}

async fn dispatch(command: Command, settings: Settings) -> anyhow::Result<ExitCode> {
    if let Command::Check { json } = command {
        return check::run(&settings, json).await;
    }
    let installation = Installation::open(settings)?;
    match command {
        Command::Up => serve(&installation, &Role::ALL).await,
        Command::Run { role } => serve(&installation, &[role]).await,
        Command::Health { roles } if roles.is_empty() => health::run(&installation, &Role::ALL).await,
        Command::Health { roles } => health::run(&installation, &roles).await,
        Command::Conflicts(command) => conflicts::run(command, installation.sync()).await,
        Command::Migration(command) => migration::run(command, installation.control()).await,
        Command::Fence(command) => fence::run(command, installation.sync()).await,
        Command::Verify { capability, json } => verify::run(installation.sync(), capability, json).await,
        Command::Audit { json } => audit::run(installation.control(), json).await,
        Command::Letters(command) => {
            let capability = match &command {
                Letters::List(of) => &of.capability,
                Letters::Retry { capability, .. } | Letters::Discard { capability, .. } => capability,
            };
            let service = installation.service(capability)?;
            letters::run(command, service).await
        }
        Command::Init { .. } | Command::Completion { .. } | Command::Check { .. } => Ok(ExitCode::SUCCESS),
    }
}

async fn serve(installation: &Installation, roles: &[Role]) -> anyhow::Result<ExitCode> {
    telemetry::init(installation.settings().log).map_err(anyhow::Error::msg)?;
    let outcome = roles::serve(installation, roles).await;
    telemetry::flush();
    outcome.map(|()| ExitCode::SUCCESS)
}
