//! The rehearsal: a whole migration on this machine, under load, with an audit and a scorecard.
//!
//! [`options`] is the command line, [`system`] starts the servers, [`load`] plays the customers, [`phases`]
//! is the course of events, [`audit`] searches both sides afterwards, [`scorecard`] judges. Whatever was
//! started ends with this process, also on Ctrl-C. A bound that is broken is named, and the exit status is 1.

mod audit;
mod by_hand;
mod control;
mod crash;
mod installation;
mod keys;
mod load;
mod lose;
mod options;
mod phases;
mod progress;
mod provider;
mod recovery;
mod rehearse;
mod report;
mod rest;
mod scorecard;
mod system;
mod timeline;
mod trace;

use clap::Parser as _;
use options::{Cli, Command};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// The exit status after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(Cli::parse())));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("rehearsal: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    if let Some(Command::Provider(options)) = cli.command {
        provider::serve(options).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let rehearsal = async {
        match &cli.command {
            Some(Command::Crash(options)) => crash::run(options).await,
            Some(Command::Trace(options)) => trace::run(options).await,
            Some(Command::LoseService(options)) => lose::run(options).await,
            _ => rehearse::run(&cli.run).await,
        }
    };
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Dropping the rehearsal ends every process that it has started.
    tokio::select! {
        biased;
        _ = interrupt.recv() => Ok(interrupted()),
        _ = terminate.recv() => Ok(interrupted()),
        passed = Box::pin(rehearsal) => {
            Ok(if passed? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

fn interrupted() -> ExitCode {
    eprintln!("\ninterrupted: every server has been stopped");
    ExitCode::from(INTERRUPTED)
}
