//! The `banyan` binary: composition root and command line, no logic of a role.
//!
//! [`settings`] is the file, [`roles`] wires the roles, [`process`] runs them, [`reload`] (with [`changes`]) and
//! [`upgrade`] change them while they run, [`commands`] holds one file per command.

mod changes;
mod cli;
mod commands;
mod process;
mod reload;
mod roles;
mod settings;
mod upgrade;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match commands::run(cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("banyan: {error:#}");
            ExitCode::FAILURE
        }
    }
}
