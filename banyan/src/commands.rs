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
mod reload;
mod upgrade;
mod verify;

use crate::cli::{Cli, Command, Letters, Role};
use crate::process::{self, Plan};
use crate::roles::{self, Installation};
use crate::settings::Settings;
use banyan_runtime::{failpoints, telemetry};
use clap::CommandFactory as _;
use std::path::Path;
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
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match cli.command {
        // By a file that the running process may refuse, and says why.
        Command::Reload { role, json } => {
            let role = roles::running(&Settings::whereabouts(&cli.config)?, role)?;
            return runtime.block_on(reload::run(role, json));
        }
        Command::Upgrade { binary, json } => {
            let door = roles::door(&Settings::whereabouts(&cli.config)?.data_dir);
            return runtime.block_on(upgrade::run(&door, binary, json));
        }
        _ => {}
    }
    let settings = Settings::load(&cli.config)?;
    runtime.block_on(dispatch(cli.command, settings, &cli.config))
}

async fn dispatch(command: Command, settings: Settings, file: &Path) -> anyhow::Result<ExitCode> {
    if let Command::Check { json } = command {
        return check::run(&settings, json).await;
    }
    let installation = Installation::open(settings)?;
    match command {
        Command::Up => serve(&installation, Plan { file, roles: &Role::ALL, take_over: false }).await,
        Command::Run { role, take_over } => {
            serve(&installation, Plan { file, roles: &[role], take_over }).await
        }
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
        Command::Init { .. }
        | Command::Completion { .. }
        | Command::Check { .. }
        | Command::Reload { .. }
        | Command::Upgrade { .. } => Ok(ExitCode::SUCCESS),
    }
}

async fn serve(installation: &Installation, plan: Plan<'_>) -> anyhow::Result<ExitCode> {
    let settings = installation.settings();
    telemetry::init(settings.log, &settings.log_filter).map_err(anyhow::Error::msg)?;
    let outcome = process::serve(installation, plan).await;
    telemetry::flush();
    outcome.map(|()| ExitCode::SUCCESS)
}
