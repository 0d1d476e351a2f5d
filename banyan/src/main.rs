//! The `banyan` binary: composition root and command line, no logic.
//!
//! [`settings`] is the file, [`roles`] wires the roles, [`commands`] holds one file per command.

mod cli;
mod commands;
mod roles;
mod settings;

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
