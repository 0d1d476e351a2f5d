//! What a test needs, whether this machine has it, and what to do where it has not.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Write as _;

use crate::laravel;
use crate::programs::{find, run};

/// With this variable set to `1`, a missing part fails the test that needs it.
const REQUIRE_ALL: &str = "BANYAN_REQUIRE_ALL";

/// Something that a test needs and a machine may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// MariaDB's server and client.
    MariaDb,
    /// The Laravel monolith: PHP-FPM, nginx, Debian's Laravel, MariaDB.
    Monolith,
    /// An SMTP server.
    Smtp,
    /// curl, which tests use as a browser.
    Curl,
    /// Prometheus' promtool.
    Promtool,
    /// MySQL itself; see `unattainable.toml`.
    Mysql,
}

impl Part {
    /// The name, as `unattainable.toml` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::MariaDb => "mariadb",
            Self::Monolith => "monolith",
            Self::Smtp => "smtp",
            Self::Curl => "curl",
            Self::Promtool => "promtool",
            Self::Mysql => "mysql",
        }
    }
}

/// Why a part that no machine has is missing, and what takes its place in the tests.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unattainable {
    reason: String,
    stand_in: String,
}

/// Why the part is missing, in one line; `None` where it is there.
pub fn missing(part: Part) -> Option<String> {
    let (programs, package): (&[&str], &str) = match part {
        Part::MariaDb => (&["mariadbd", "mariadb-install-db", "mariadb", "setpriv"], "mariadb-server"),
        Part::Monolith => return missing(Part::MariaDb).or_else(laravel::missing),
        Part::Smtp => return missing_smtp(),
        Part::Curl => (&["curl"], "curl"),
        Part::Promtool => (&["promtool"], "prometheus"),
        Part::Mysql => (&["mysqld"], "mysql-server"),
    };
    let absent = programs.iter().find(|name| find(name).is_none())?;
    Some(format!("{absent} is not installed (package {package})"))
}

/// `Some` where the part is there. Else says `skipped` with the reason, on standard error past the test
/// harness, and gives `None`: the test then returns.
///
/// # Panics
/// The part is missing, `BANYAN_REQUIRE_ALL=1` is set, and `unattainable.toml` does not name the part.
pub fn require(part: Part) -> Option<()> {
    let Some(reason) = missing(part) else { return Some(()) };
    let all = std::env::var_os(REQUIRE_ALL).is_some_and(|value| value == "1");
    match verdict(part, &reason, all) {
        Verdict::Skip(line) => {
            let _ = writeln!(std::io::stderr(), "{line}");
            None
        }
        Verdict::Fail(line) => panic!("{line}"),
    }
}

#[derive(Debug, PartialEq)]
enum Verdict {
    Skip(String),
    Fail(String),
}

fn verdict(part: Part, reason: &str, all: bool) -> Verdict {
    let name = part.name();
    if let Some(known) = unattainable().get(name) {
        return Verdict::Skip(format!("skipped: {name}: {}; in its place: {}", known.reason, known.stand_in));
    }
    let line = format!("{name}: {reason}; `bin/setup test` installs it");
    if all { Verdict::Fail(format!("missing: {line}")) } else { Verdict::Skip(format!("skipped: {line}")) }
}

fn unattainable() -> BTreeMap<String, Unattainable> {
    toml::from_str(include_str!("../unattainable.toml")).expect("the file is part of the build and tested")
}

fn missing_smtp() -> Option<String> {
    let probe = ["-c", "import aiosmtpd.handlers"];
    let python = std::path::Path::new(crate::smtp::PYTHON);
    let there = python.is_file() && run(std::process::Command::new(python).args(probe)).is_ok();
    (!there).then(|| "aiosmtpd is not installed (package python3-aiosmtpd)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_file_names_may_be_missing_where_all_is_required() {
        assert_eq!(unattainable().keys().collect::<Vec<_>>(), ["mysql"]);
        assert!(matches!(verdict(Part::MariaDb, "gone", true), Verdict::Fail(line) if line.contains("gone")));
        assert!(
            matches!(verdict(Part::MariaDb, "gone", false), Verdict::Skip(line) if line.contains("gone"))
        );
        assert!(
            matches!(verdict(Part::Mysql, "x", true), Verdict::Skip(line) if line.contains("byte vectors"))
        );
    }
}
