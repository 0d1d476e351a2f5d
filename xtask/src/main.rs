//! `cargo xtask tidy`: the house rules as a program.

mod tidy;

use clap::{Parser, Subcommand};
use std::path::Path;
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Tasks of this repository")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check the rules that compiler and clippy do not know.
    Tidy,
}

fn main() -> ExitCode {
    let Task::Tidy = Cli::parse().task;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("");
    match tidy::run(&root) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(faults) => {
            eprintln!("{faults} faults");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
