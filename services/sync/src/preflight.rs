//! What the monolith's database needs before Banyan can follow and fence it, with the statement that mends
//! each fault. Looks, and changes nothing.

mod grants;
mod server;
mod tables;

use crate::config::Config;
use crate::database::{Database, DatabaseFault};
use banyan_core::Capability;
use mysql_async::Conn;
use serde::Serialize;
use thiserror::Error;

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Works, with a limit that is worth knowing.
    Warn,
    /// Banyan refuses to work like this.
    Mend,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How grave it is.
    pub level: Level,
    /// What was found.
    pub what: String,
    /// The statement, or the lines of the server's configuration, that mend it.
    pub cure: Option<String>,
}

impl Finding {
    fn ok(what: impl Into<String>) -> Self {
        Self { level: Level::Ok, what: what.into(), cure: None }
    }

    fn warn(what: impl Into<String>, cure: Option<String>) -> Self {
        Self { level: Level::Warn, what: what.into(), cure }
    }

    fn mend(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { level: Level::Mend, what: what.into(), cure: Some(cure.into()) }
    }
}

/// Why nothing could be looked at.
#[derive(Debug, Error)]
pub enum PreflightError {
    /// The address cannot be used.
    #[error("the monolith's database must be mysql://USER:PASSWORD@HOST:PORT/SCHEMA: {0}")]
    DatabaseUrl(String),
    /// The database failed while it was asked.
    #[error(transparent)]
    Database(#[from] Box<dyn std::error::Error + Send + Sync>),
}

impl From<DatabaseFault> for PreflightError {
    fn from(fault: DatabaseFault) -> Self {
        Self::Database(Box::new(fault))
    }
}

/// Looks at the server, the rights of Banyan's user and the tables of the capabilities.
///
/// # Errors
/// The address cannot be used, or the database fails on the way. A database that cannot be reached at all
/// is a finding.
pub async fn preflight(url: &str, capabilities: &[Capability]) -> Result<Vec<Finding>, PreflightError> {
    let database = Database::new(url, &Config::default()).map_err(PreflightError::DatabaseUrl)?;
    let mut connection = match database.connect().await {
        Ok(connection) => connection,
        Err(fault) => return Ok(vec![unreachable(&database, &fault)]),
    };
    let mut findings = server::look(&database, &mut connection).await?;
    findings.extend(grants::look(&database, &mut connection).await?);
    findings.extend(tables::look(&database, &mut connection, capabilities).await?);
    Ok(findings)
}

fn unreachable(database: &Database, fault: &DatabaseFault) -> Finding {
    let (user, schema) = (database.user(), database.schema());
    let cure =
        format!("CREATE USER '{user}'@'%' IDENTIFIED BY '…';\n{}", grants::statements(user, "%", schema));
    Finding::mend(format!("`{user}` cannot connect to `{schema}`: {fault}"), cure)
}

/// The single value of a query, as text.
async fn text(
    database: &Database,
    connection: &mut Conn,
    sql: &str,
) -> Result<Option<String>, DatabaseFault> {
    Ok(database.rows::<Option<String>>(connection, sql).await?.into_iter().flatten().next())
}
