//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Moves a live monolith onto services, one capability and one cohort of users at a time, and back.
#[derive(Parser)]
#[command(name = "banyan", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// The configuration file.
    #[arg(long, global = true, default_value = "banyan.toml", env = "BANYAN_CONFIG")]
    pub config: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Run gateway, control, sync, notify and auth in this process.
    Up,
    /// Run one role in this process.
    Run {
        /// The role.
        #[arg(value_enum)]
        role: Role,
        /// Take the place of a running gateway, where there is one, without a refused connection.
        #[arg(long)]
        take_over: bool,
    },
    /// Have a running process read its configuration again; names what needs an upgrade or a restart.
    Reload {
        /// A role of the process; in `banyan up` any.
        #[arg(value_enum, default_value = "gateway")]
        role: Role,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Have the running gateway hand its sockets over to a new process, and end when its requests have.
    Upgrade {
        /// The binary of the new process; the one at the running process's own path without it.
        #[arg(long)]
        binary: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Ask the roles whether they run; fails where one does not answer.
    Health {
        /// The roles; all without any.
        #[arg(value_enum)]
        roles: Vec<Role>,
    },
    /// Write a commented configuration file.
    Init {
        /// Where to write it; `-` prints it.
        #[arg(default_value = "banyan.toml")]
        path: PathBuf,
        /// Replace an existing file.
        #[arg(long)]
        force: bool,
    },
    /// Look whether the monolith's database is ready, and print the statements that make it so.
    Check {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Move capabilities between the monolith and their services.
    #[command(subcommand)]
    Migration(Migration),
    /// The gates, fences and triggers in the monolith's database.
    #[command(subcommand)]
    Fence(Fence),
    /// Compare every row of a capability on both sides.
    Verify {
        /// The capability.
        #[arg(default_value = "notifications")]
        capability: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Changes that could not be applied; each blocks its bucket's handover.
    #[command(subcommand)]
    Letters(Letters),
    /// What a service did after the monolith had taken over without it; a person decides.
    #[command(subcommand)]
    Conflicts(Conflicts),
    /// Print who changed what, when and why, and whether the chain of records is whole.
    Audit {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print a completion script for a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// A role that can run in a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Routes requests by capability and bucket.
    Gateway,
    /// Keeps owners and coordinates handovers.
    Control,
    /// Reads the monolith's sessions.
    Auth,
    /// Carries changes between the monolith's database and the services.
    Sync,
    /// The notifications service.
    Notify,
}

impl Role {
    /// Every role, in the order in which `banyan up` starts them.
    pub const ALL: [Self; 5] = [Self::Control, Self::Auth, Self::Notify, Self::Sync, Self::Gateway];

    /// The name of its section in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Control => "control",
            Self::Auth => "auth",
            Self::Sync => "sync",
            Self::Notify => "notify",
        }
    }
}

/// `banyan migration …`
#[derive(Subcommand)]
pub enum Migration {
    /// Show where capabilities stand.
    Status {
        /// One capability only.
        capability: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Grow a capability's cohort: more of its buckets go to the service.
    Advance(Move),
    /// Shrink a capability's cohort: buckets go back to the monolith.
    Rollback(Rollback),
    /// Start no new handover; one that runs is finished or restored.
    Pause(Change),
    /// Go on after a pause.
    Resume(Change),
    /// List the newest handovers.
    Handovers {
        /// The capability.
        #[arg(default_value = "notifications")]
        capability: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// A wished change of the cohort.
#[derive(Args)]
pub struct Move {
    /// The share at the service in percent; without it the next step up, or 0 for a rollback.
    #[arg(long, value_parser = percent)]
    pub percent: Option<f64>,
    /// How many seconds to wait until every bucket has moved; 0 returns at once.
    #[arg(long, default_value_t = 60)]
    pub wait: u64,
    /// What and why.
    #[command(flatten)]
    pub change: Change,
}

/// A rollback.
#[derive(Args)]
pub struct Rollback {
    /// Go back without the service, which is dead: what the monolith does not have of it is printed, and it gets
    /// no lease until an advance has admitted it again. Needs a reason.
    #[arg(long, requires = "reason", conflicts_with = "percent")]
    pub force: bool,
    /// How far.
    #[command(flatten)]
    pub wish: Move,
}

/// What every change of a migration says.
#[derive(Args)]
pub struct Change {
    /// The capability.
    #[arg(default_value = "notifications")]
    pub capability: String,
    /// Why, for the audit.
    #[arg(long, default_value = "")]
    pub reason: String,
    /// Who, for the audit.
    #[arg(long, env = "USER", default_value = "operator")]
    pub by: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `banyan fence …`
#[derive(Subcommand)]
pub enum Fence {
    /// Create tables, rows and triggers; does nothing where they are in place.
    Install(OfCapability),
    /// Show each object and whether it is in place.
    Check(OfCapability),
    /// Drop the triggers; refused while the service owns a bucket.
    Remove(OfCapability),
}

/// Names a capability.
#[derive(Args)]
pub struct OfCapability {
    /// The capability.
    #[arg(default_value = "notifications")]
    pub capability: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `banyan letters …`
#[derive(Subcommand)]
pub enum Letters {
    /// List them.
    List(OfCapability),
    /// Apply one again.
    Retry {
        /// Its number.
        id: u64,
        /// The capability.
        #[arg(default_value = "notifications")]
        capability: String,
    },
    /// Drop one for good.
    Discard {
        /// Its number.
        id: u64,
        /// The capability.
        #[arg(default_value = "notifications")]
        capability: String,
        /// Why it may be dropped.
        #[arg(long)]
        reason: String,
    },
}

/// `banyan conflicts …`
#[derive(Subcommand)]
pub enum Conflicts {
    /// List those that are open.
    List(OfCapability),
    /// Show one with its rows.
    Show {
        /// Its number.
        id: u64,
        /// The capability.
        #[command(flatten)]
        of: OfCapability,
    },
    /// Write its rows to the monolith, which must own the bucket.
    Replay(Settle),
    /// Drop it for good.
    Discard(Settle),
}

/// A decision on a conflict.
#[derive(Args)]
pub struct Settle {
    /// Its number.
    pub id: u64,
    /// The capability.
    #[command(flatten)]
    pub of: OfCapability,
    /// Why; kept with it.
    #[arg(long)]
    pub reason: String,
    /// Who decides; kept with it.
    #[arg(long, env = "USER", default_value = "operator")]
    pub by: String,
}

fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(number) if (0.0..=100.0).contains(&number) => Ok(number),
        _ => Err("must be a number from 0 to 100".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_percentage_has_bounds() {
        assert_eq!((percent("12.5%"), percent("100")), (Ok(12.5), Ok(100.0)));
        assert!(percent("101").is_err() && percent("-1").is_err() && percent("half").is_err());
    }
}
