//! The rights of Banyan's database user.

use super::{Finding, text};
use crate::database::{Database, DatabaseFault};
use mysql_async::Conn;
use std::collections::BTreeSet;

/// Rights on the whole server, each with the names under which versions grant it.
const ON_SERVER: [&[&str]; 3] =
    [&["REPLICATION SLAVE"], &["BINLOG MONITOR", "REPLICATION CLIENT"], &["PROCESS"]];
/// What lets a user make triggers while binlogs are written, or set `log_bin_trust_function_creators` for the
/// moment of making them.
const TRUSTED: [&str; 3] = ["BINLOG ADMIN", "SUPER", "SYSTEM_VARIABLES_ADMIN"];
/// Rights on the monolith's database.
const ON_SCHEMA: [&str; 7] = ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "TRIGGER"];

/// All statements for a new user.
pub fn statements(user: &str, host: &str, schema: &str) -> String {
    let account = format!("'{user}'@'{host}'");
    let server: Vec<&str> = ON_SERVER.iter().map(|names| names[0]).chain([TRUSTED[0]]).collect();
    format!(
        "GRANT {} ON *.* TO {account};\nGRANT {} ON `{schema}`.* TO {account};",
        server.join(", "),
        ON_SCHEMA.join(", ")
    )
}

/// Looks at the user's rights.
///
/// # Errors
/// The database fails.
pub async fn look(database: &Database, connection: &mut Conn) -> Result<Vec<Finding>, DatabaseFault> {
    let grants: Vec<String> = database.rows(connection, "SHOW GRANTS").await?;
    let account = text(database, connection, "SELECT CURRENT_USER()").await?.unwrap_or_default();
    let (user, host) = account.rsplit_once('@').unwrap_or((&account, "%"));
    let account = format!("'{user}'@'{host}'");
    let trusting = text(database, connection, "SELECT @@GLOBAL.log_bin_trust_function_creators").await?;
    let held = Held::parse(&grants, database.schema());
    let mut missing: Vec<&str> = ON_SERVER
        .iter()
        .filter(|names| !names.iter().any(|name| held.server(name)))
        .map(|names| names[0])
        .collect();
    if trusting.as_deref() != Some("1") && !TRUSTED.iter().any(|name| held.server(name)) {
        missing.push(TRUSTED[0]);
    }
    let missing_here: Vec<&str> = ON_SCHEMA.into_iter().filter(|name| !held.schema(name)).collect();
    let mut findings = Vec::new();
    if !missing.is_empty() {
        let names = missing.join(", ");
        findings.push(Finding::mend(
            format!("{account} lacks {names}"),
            format!("GRANT {names} ON *.* TO {account};"),
        ));
    }
    if !missing_here.is_empty() {
        let (names, schema) = (missing_here.join(", "), database.schema());
        let cure = format!("GRANT {names} ON `{schema}`.* TO {account};");
        findings.push(Finding::mend(format!("{account} lacks {names} on `{schema}`"), cure));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(format!("{account} has the rights that Banyan needs")));
    }
    Ok(findings)
}

/// Rights by scope.
#[derive(Debug, Default)]
struct Held {
    server: BTreeSet<String>,
    schema: BTreeSet<String>,
}

impl Held {
    fn parse(grants: &[String], schema: &str) -> Self {
        let mut held = Self::default();
        for grant in grants {
            let Some((rights, rest)) = grant.strip_prefix("GRANT ").and_then(|rest| rest.split_once(" ON "))
            else {
                continue;
            };
            let scope = rest.split_once(" TO ").map_or(rest, |(scope, _)| scope).replace(['`', '\\'], "");
            let rights = rights.split(", ").map(|right| right.trim().to_ascii_uppercase());
            if scope == "*.*" {
                held.server.extend(rights);
            } else if scope == format!("{schema}.*") {
                held.schema.extend(rights);
            }
        }
        held
    }

    fn server(&self, right: &str) -> bool {
        self.server.contains(right) || self.server.contains("ALL PRIVILEGES")
    }

    fn schema(&self, right: &str) -> bool {
        self.server(right) || self.schema.contains(right) || self.schema.contains("ALL PRIVILEGES")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_read_by_their_scope() {
        let grants = [
            "GRANT REPLICATION SLAVE, PROCESS ON *.* TO `b`@`%` IDENTIFIED BY PASSWORD '*1'",
            "GRANT SELECT, TRIGGER ON `my\\_shop`.* TO `b`@`%`",
            "GRANT DELETE ON `crm`.* TO `b`@`%`",
            "GRANT INSERT ON `my\\_shop`.`users` TO `b`@`%`",
        ];
        let held = Held::parse(&grants.map(String::from), "my_shop");
        assert!(held.server("PROCESS") && held.schema("TRIGGER") && held.schema("PROCESS"));
        assert!(!held.server("SELECT") && !held.schema("DELETE") && !held.schema("INSERT"));
        let all =
            Held::parse(&["GRANT ALL PRIVILEGES ON *.* TO `root`@`%` WITH GRANT OPTION".into()], "my_shop");
        assert!(all.server("BINLOG ADMIN") && all.schema("DROP"));
    }
}
