//! Benchmarks beside peers, in one run on one machine. `bin/bench` installs the peers, builds and starts this.
//!
//! Every benchmark ends with one line of JSON. Whatever was started ends with this process.

mod gateway;
mod load;
mod statistics;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "bench", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// The gateway beside nginx and HAProxy: requests per CPU second, and the time that it adds.
    Gateway(gateway::Options),
}

fn main() -> ExitCode {
    let Benchmark::Gateway(options) = Cli::parse().benchmark;
    match gateway::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
