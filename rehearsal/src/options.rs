//! The command line: what may be asked for, and the schedule that follows from it.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// Rehearses a whole migration on this machine: a real Laravel monolith under load, Banyan before it,
/// notifications moved to their service and back again and again, and an audit of every write.
///
/// Starts MariaDB, PHP-FPM, nginx, an SMTP sink, a payment provider and Banyan on free ports of the
/// loopback interface in a temporary folder; nothing outside that folder is touched. Virtual customers log
/// in, click, pay and change their preferences in an open loop: requests start when they are due, however
/// slow the answers are, and latency counts from that moment.
#[derive(Parser, Debug)]
#[command(name = "rehearsal", version, args_conflicts_with_subcommands = true, after_help = AFTER_HELP)]
pub struct Cli {
    /// Another thing to do than to rehearse.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to rehearse.
    #[command(flatten)]
    pub run: RunOptions,
}

const AFTER_HELP: &str = "\
Examples:
  rehearsal                               the whole rehearsal, about four minutes
  rehearsal --quick --json scorecard.json a shorter one for CI
  rehearsal --rate 80 --duration 600      more customers, for ten minutes
  rehearsal --by-hand                     no schedule: keys act
  rehearsal --seed 7 --keep               the same customers every time; keep databases and logs

On a terminal keys act while it runs: r rolls back, a advances, p lets the payment provider hang and answer
again, k kills a random role, s sends ten times the requests for some seconds, q finishes; audit and scorecard
follow. The first key ends the schedule at the next pause; from then on only keys act.

Exit status: 0 where the scorecard holds all its bounds, 1 where one is broken (each is named) or the
rehearsal could not be carried out, 2 for a wrong option, 130 after Ctrl-C. Programs that are missing are
installed by `bin/setup rehearse`.";

/// Other things to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Kill something in every round while customers act and buckets move, and audit what is left.
    Crash(CrashOptions),
    /// Follow one click of a customer from the browser to the mail, and print its trace as a tree.
    Trace(TraceOptions),
    /// Lose the service and its database under load, go back without it, and audit what is left.
    LoseService(LoseOptions),
    /// Run the payment provider alone: POST /charges, GET /charges, GET and PUT /control.
    Provider(ProviderOptions),
}

/// Options of the payment provider.
#[derive(Args, Debug)]
pub struct ProviderOptions {
    /// Port to listen on at 127.0.0.1.
    #[arg(long)]
    pub port: u16,
    /// How long a charge takes, in milliseconds; half of it up or down by chance.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pub latency_ms: u64,
    /// Seed of the chance.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// When writes at the service are acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DualWrite {
    /// Once the service has committed them: those that the monolith does not have are printed.
    Async,
    /// Once the monolith has committed them too, strictly: none is lost.
    Wait,
}

/// Options of the loss of a service.
#[derive(Args, Debug)]
pub struct LoseOptions {
    /// When writes at the service are acknowledged.
    #[arg(long, value_enum, default_value_t = DualWrite::Async)]
    pub dual_write: DualWrite,
    /// Seed of everything that is left to chance.
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Users in the monolith's database.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(40..=10_000))]
    pub users: u64,
    /// Requests that customers send per second.
    #[arg(long, value_name = "R", default_value_t = 40.0, value_parser = rate)]
    pub rate: f64,
    /// Write what was found as JSON to this file too.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Keep the temporary folder with databases and logs.
    #[arg(long)]
    pub keep: bool,
}

impl LoseOptions {
    /// The servers' options.
    pub fn run(&self) -> RunOptions {
        RunOptions::of_servers(self.users, self.rate, (self.seed, self.keep))
    }
}

/// Options of the crash soak.
#[derive(Args, Debug)]
pub struct CrashOptions {
    /// How many rounds.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub rounds: u64,
    /// The first round: a failed soak says from where it can be replayed.
    #[arg(long, value_name = "R", default_value_t = 0)]
    pub from: u64,
    /// Seed of everything that is left to chance.
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Users in the monolith's database.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(40..=10_000))]
    pub users: u64,
    /// Requests that customers send per second.
    #[arg(long, value_name = "R", default_value_t = 30.0, value_parser = rate)]
    pub rate: f64,
    /// Write what was found as JSON to this file too.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Keep the temporary folders with databases and logs.
    #[arg(long)]
    pub keep: bool,
}

impl CrashOptions {
    /// The servers' options.
    pub fn run(&self) -> RunOptions {
        RunOptions::of_servers(self.users, self.rate, (self.seed, self.keep))
    }
}

/// Options of a trace.
#[derive(Args, Debug)]
pub struct TraceOptions {
    /// Seed of the shop's data.
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Write the spans as JSON to this file too.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the metrics of every role, as they are afterwards, to this file.
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
    /// Keep the temporary folder with databases and logs.
    #[arg(long)]
    pub keep: bool,
}

impl TraceOptions {
    /// The servers' options.
    pub fn run(&self) -> RunOptions {
        RunOptions::of_servers(20, 5.0, (self.seed, self.keep))
    }
}

/// Options of a rehearsal.
#[derive(Args, Debug, Clone)]
pub struct RunOptions {
    /// Seconds under load; every phase is scaled with it. Starting, seeding and the audit come on top.
    #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u64).range(60..=86_400))]
    pub duration: Option<u64>,
    /// Users in the monolith's database.
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(100..=200_000))]
    pub users: u64,
    /// Requests that customers send per second, all kinds together.
    #[arg(long, value_name = "R", default_value_t = 50.0, value_parser = rate)]
    pub rate: f64,
    /// Seed of everything that is left to chance.
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Write the scorecard as JSON to this file too.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the report to this HTML file; without it to target/rehearsal/report.html, or to
    /// rehearsal-report.html where the current folder has no `target`.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Keep the temporary folder with databases and logs.
    #[arg(long)]
    pub keep: bool,
    /// Ask nothing and wait for nobody; `bin/rehearse` hands it to `bin/setup`.
    #[arg(long)]
    pub yes: bool,
    /// No schedule: the load goes on until `q`, and only keys act. Needs a terminal.
    #[arg(long, conflicts_with_all = ["quick", "duration"])]
    pub by_hand: bool,
    /// A short rehearsal for CI: 75 seconds under load unless `--duration` says otherwise.
    #[arg(long)]
    pub quick: bool,
    /// Report times without judging them, where other work takes the processors away.
    #[arg(long)]
    pub no_times: bool,
    /// Leave the outage of the payment provider out.
    #[arg(long)]
    pub no_outage: bool,
    /// Leave the spike out, as `--quick` does.
    #[arg(long)]
    pub no_spike: bool,
    /// Run all roles of Banyan in one process (`banyan up`) instead of one process for each; then nothing is
    /// killed.
    #[arg(long)]
    pub together: bool,
    /// PHP-FPM processes of the monolith.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(6..=64))]
    pub php_workers: u32,
    /// Print every failure, and what the servers are started with.
    #[arg(long)]
    pub verbose: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (5.0..=1000.0).contains(&rate) => Ok(rate),
        Ok(_) => Err("must be from 5 to 1000 requests a second".into()),
        Err(_) => Err("must be a number of requests a second, such as 50".into()),
    }
}

/// Whether the bounds of times count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// A time beyond its bound fails the rehearsal.
    Judged,
    /// Times are only reported.
    Reported,
}

/// How long each phase lasts, and what the run must reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The monolith alone.
    pub before: Duration,
    /// Everything at the monolith, through the gateway.
    pub through_gateway: Duration,
    /// Rounds of 1 → 10 → 50 → 100 → 0 %.
    pub rounds: u32,
    /// Load between two handovers.
    pub step: Duration,
    /// The provider's outage.
    pub outage: Option<Duration>,
    /// Everything at the service.
    pub after: Duration,
    /// Requests that the run must reach.
    pub requests_min: u64,
    /// Acknowledged writes that the run must reach.
    pub writes_min: u64,
    /// Finished handovers that the run must reach.
    pub handovers_min: u64,
    /// Rollbacks of the whole cohort that the run must reach.
    pub rollbacks_min: u64,
    /// Roles that are killed.
    pub kills: usize,
    /// The spike.
    pub spike: Option<Duration>,
    /// Whether the bounds of times count.
    pub times: Times,
}

/// Handovers in a round.
const ROUND: u32 = 5;
/// Roles that a scheduled run kills.
const KILLS: usize = 2;
/// How long the crowd comes.
pub const SPIKE: Duration = Duration::from_secs(6);

impl Schedule {
    /// What is left of it when a person takes over: nothing has to be reached, and times are only reported.
    pub fn leave(&mut self) {
        self.requests_min = 0;
        self.writes_min = 0;
        self.handovers_min = 0;
        self.rollbacks_min = 0;
        self.times = Times::Reported;
    }
}

impl RunOptions {
    /// What the other commands start servers with: nothing happens by a schedule.
    fn of_servers(users: u64, rate: f64, (seed, keep): (u64, bool)) -> Self {
        Self {
            duration: None,
            users,
            rate,
            seed,
            json: None,
            report: None,
            keep,
            yes: true,
            by_hand: false,
            quick: false,
            no_times: false,
            no_outage: true,
            no_spike: true,
            together: false,
            php_workers: 6,
            verbose: false,
        }
    }

    /// Seconds under load.
    pub fn load_s(&self) -> u64 {
        self.duration.unwrap_or(if self.quick { 75 } else { 180 })
    }

    /// The schedule that follows from the options.
    pub fn schedule(&self) -> Schedule {
        let load_s = self.load_s() as f64;
        let share = |of: f64| Duration::from_secs_f64(load_s * of);
        let rounds = ((load_s / 45.0).round() as u32).max(2);
        let expected = load_s * self.rate;
        Schedule {
            before: share(0.13),
            through_gateway: share(0.10),
            rounds,
            step: share(0.27) / (rounds * ROUND),
            outage: (!self.no_outage).then(|| share(1.0 / 6.0).max(Duration::from_secs(10))),
            after: share(0.13),
            requests_min: ((expected * 0.6) as u64).min(5000),
            writes_min: ((expected * 0.06) as u64).min(500),
            handovers_min: u64::from((rounds * ROUND).min(20)),
            rollbacks_min: 1,
            kills: if self.together { 0 } else { KILLS },
            spike: (!self.quick && !self.no_spike).then_some(SPIKE),
            times: if self.no_times { Times::Reported } else { Times::Judged },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn parse(arguments: &[&str]) -> Result<RunOptions, String> {
        let all = std::iter::once("rehearsal").chain(arguments.iter().copied());
        Cli::try_parse_from(all).map(|cli| cli.run).map_err(|e| e.to_string())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_default_schedule_asks_for_what_the_scorecard_must_show() {
        let schedule = parse(&[]).unwrap().schedule();
        assert_eq!(
            (schedule.requests_min, schedule.writes_min, schedule.handovers_min, schedule.rounds),
            (5000, 500, 20, 4)
        );
        assert_eq!(schedule.outage, Some(Duration::from_secs(30)));
        let quick = parse(&["--quick"]).unwrap().schedule();
        assert!(quick.outage.unwrap() >= Duration::from_secs(10) && quick.requests_min < 5000);
        assert_eq!((quick.spike, quick.kills), (None, 2));
        assert_eq!(parse(&["--together", "--no-spike"]).unwrap().schedule().kills, 0);
        assert_eq!(parse(&["--no-outage"]).unwrap().schedule().outage, None);
    }

    #[test]
    fn nonsense_is_refused_with_what_is_allowed() {
        for (arguments, named) in [
            (["--rate", "0"], "from 5 to 1000"),
            (["--rate", "fast"], "number of requests"),
            (["--duration", "5"], "60..=86400"),
            (["--users", "3"], "100..=200000"),
            (["--php-workers", "1"], "6..=64"),
        ] {
            let error = parse(&arguments).unwrap_err();
            assert!(error.contains(named), "{arguments:?}: {error}");
        }
    }
}
