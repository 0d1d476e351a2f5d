//! The server and its variables.

use super::{Finding, text};
use crate::config::Config;
use crate::database::{Database, DatabaseFault};
use mysql_async::Conn;
use std::collections::BTreeMap;

/// The shortest life of a binlog file that leaves time to mend a stopped stream, in seconds.
const BINLOG_LIFE_S_MIN: u64 = 86_400;

/// A variable and what it has to be.
struct Wanted {
    name: &'static str,
    value: &'static str,
    why: &'static str,
}

/// Where the variable exists, it must have this value.
const WANTED: [Wanted; 8] = [
    Wanted { name: "binlog_format", value: "ROW", why: "changes are read as rows" },
    Wanted { name: "binlog_row_image", value: "FULL", why: "rows are read whole" },
    Wanted { name: "sync_binlog", value: "1", why: "a crash must not lose what was read already" },
    Wanted {
        name: "innodb_flush_log_at_trx_commit",
        value: "1",
        why: "a crash must not lose what was read already",
    },
    Wanted { name: "log_bin_compress", value: "OFF", why: "compressed events are not read" },
    Wanted {
        name: "binlog_transaction_compression",
        value: "OFF",
        why: "compressed transactions are not read",
    },
    Wanted { name: "binlog_row_value_options", value: "", why: "partial JSON updates are not read" },
    Wanted { name: "read_only", value: "OFF", why: "reverse writes here: name the primary" },
];

/// Looks at the server.
///
/// # Errors
/// The database fails.
pub async fn look(database: &Database, connection: &mut Conn) -> Result<Vec<Finding>, DatabaseFault> {
    let rows: Vec<(String, Option<String>)> = database.rows(connection, "SHOW GLOBAL VARIABLES").await?;
    let variables: BTreeMap<String, String> =
        rows.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect();
    let of = |name: &str| variables.get(name).map(String::as_str);
    let number = |name: &str| of(name).and_then(|value| value.parse::<f64>().ok());
    let version = text(database, connection, "SELECT VERSION()").await?.unwrap_or_default();
    let mut findings = vec![release(&version, connection.server_version())];
    if of("log_bin") != Some("ON") {
        findings.push(Finding::mend(
            "the server writes no binlog",
            "# my.cnf, then restart\n[mysqld]\nlog_bin = binlog",
        ));
    }
    for wanted in &WANTED {
        findings.extend(of(wanted.name).map(|value| check(wanted, value)));
    }
    match of("binlog_row_metadata") {
        Some("FULL") => findings.push(Finding::ok("binlog_row_metadata is FULL")),
        Some(other) => findings.push(Finding::warn(
            format!("binlog_row_metadata is {other}: columns are told apart by their place only"),
            Some("SET GLOBAL binlog_row_metadata = 'FULL';".into()),
        )),
        None => {}
    }
    if of("wsrep_on") == Some("ON") {
        findings.push(Finding::mend(
            "the server is a node of a Galera cluster: locks of gates do not hold across its nodes",
            "# move the monolith to a single primary; my.cnf, then restart\n[mysqld]\nwsrep_on = OFF",
        ));
    }
    let life = number("binlog_expire_logs_seconds").unwrap_or(0.0);
    if life > 0.0 && life < BINLOG_LIFE_S_MIN as f64 {
        findings.push(Finding::warn(
            format!("binlogs are removed after {life} s: a longer outage of Banyan needs a new copy"),
            Some("SET GLOBAL binlog_expire_logs_seconds = 604800;".into()),
        ));
    }
    let held = Config::default().gate_idle_s_max as f64;
    if let Some(wait) = number("innodb_lock_wait_timeout").filter(|wait| *wait <= held) {
        findings.push(Finding::warn(
            format!("innodb_lock_wait_timeout is {wait} s: a writer may give up at a gate that is held for {held} s"),
            Some("SET GLOBAL innodb_lock_wait_timeout = 50;".into()),
        ));
    }
    let zone = of("time_zone").unwrap_or_default();
    let zone = if zone == "SYSTEM" { of("system_time_zone").unwrap_or_default() } else { zone };
    findings.push(Finding::ok(format!("the server's time zone is {zone}; DATETIME is carried as it stands")));
    findings.extend(events(database, connection, of("event_scheduler")).await?);
    Ok(findings)
}

fn release(version: &str, (major, minor, _): (u16, u16, u16)) -> Finding {
    let mariadb = version.contains("MariaDB");
    let cure = "-- upgrade to MariaDB 10.6 or newer, or MySQL 8.0 or newer";
    match (mariadb, (major, minor)) {
        (true, at) if at >= (10, 6) => Finding::ok(format!("MariaDB {version}")),
        (false, (8.., _)) => Finding::warn(
            format!("MySQL {version}: the code is shared with MariaDB, and not tested here"),
            None,
        ),
        _ => Finding::mend(format!("{version} is too old: SKIP LOCKED is missing"), cure),
    }
}

fn check(wanted: &Wanted, value: &str) -> Finding {
    let Wanted { name, value: right, why } = wanted;
    if value.eq_ignore_ascii_case(right) {
        let shown = if right.is_empty() { "not set" } else { right };
        return Finding::ok(format!("{name} is {shown}"));
    }
    let literal = if right.parse::<u64>().is_ok() || *right == "OFF" {
        (*right).to_owned()
    } else {
        format!("'{right}'")
    };
    Finding::mend(
        format!("{name} is {value}, and must be {right}: {why}"),
        format!("SET GLOBAL {name} = {literal};"),
    )
}

/// Events write past the gateway: worth knowing before a first step.
async fn events(
    database: &Database,
    connection: &mut Conn,
    scheduler: Option<&str>,
) -> Result<Option<Finding>, DatabaseFault> {
    if scheduler != Some("ON") {
        return Ok(None);
    }
    let sql = "SELECT event_name FROM information_schema.events WHERE event_schema = DATABASE() AND status = 'ENABLED'";
    let names: Vec<String> = database.rows(connection, sql).await?;
    let warning = || Finding::warn(format!("events write past the gateway: {}", names.join(", ")), None);
    Ok((!names.is_empty()).then(warning))
}
