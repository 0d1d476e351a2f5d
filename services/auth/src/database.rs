//! The monolith's database: a bounded pool, every statement within one deadline.
//!
//! A statement that does not end in time gives its connection up, so that a stuck server does not fill the
//! pool with stuck connections. Nothing is retried: the gateway's caller decides.

use crate::config::Config;
use crate::error::StartError;
use crate::metrics::DATABASE_SECONDS;
use banyan_runtime::clock;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, OptsBuilder, Params, Pool, PoolConstraints, PoolOpts, Row, Value};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// MySQL's error for a comparison of a value that the column's character set cannot hold.
const ILLEGAL_MIX_OF_COLLATIONS: u16 = 1267;

/// Why a statement has no result.
#[derive(Debug, Error)]
pub enum DatabaseFault {
    /// Nothing came within the deadline.
    #[error("no result within {0} ms")]
    Late(u128),
    /// The server refused, or the connection broke.
    #[error(transparent)]
    Failed(#[from] mysql_async::Error),
}

/// One statement of this crate.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Its name in the metrics.
    pub name: &'static str,
    /// Its text, with `?` for each parameter.
    pub sql: Arc<str>,
}

impl Statement {
    /// A statement.
    pub fn new(name: &'static str, sql: String) -> Self {
        Self { name, sql: sql.into() }
    }
}

/// The database. Clones share the pool.
#[derive(Clone, Debug)]
pub struct Database {
    pool: Pool,
    timeout: Duration,
}

impl Database {
    /// A pool for the address; connects at the first statement.
    ///
    /// # Errors
    /// The address cannot be read.
    pub fn new(url: &str, config: &Config) -> Result<Self, StartError> {
        let address = Opts::from_url(url).map_err(|e| StartError::DatabaseUrl(e.to_string()))?;
        let connections =
            PoolConstraints::new(config.database_connections_max, config.database_connections_max)
                .ok_or_else(|| StartError::Config("`database_connections_max` must be at least 1".into()))?;
        // No statement leaves session state behind, and a reset would throw prepared statements away.
        let pool = PoolOpts::default().with_constraints(connections).with_reset_connection(false);
        // The user's rights are for the address in the configuration, not for the socket behind it.
        let options = OptsBuilder::from_opts(address).prefer_socket(false).tcp_nodelay(true).pool_opts(pool);
        Ok(Self { pool: Pool::new(options), timeout: Duration::from_millis(config.database_timeout_ms) })
    }

    /// The first row.
    ///
    /// # Errors
    /// See [`DatabaseFault`].
    pub async fn first(
        &self,
        statement: &Statement,
        values: Vec<Value>,
    ) -> Result<Option<Row>, DatabaseFault> {
        let sql = Arc::clone(&statement.sql);
        self.run(statement, async move |mut connection: Conn| {
            match connection.exec_first(&*sql, Params::Positional(values)).await {
                Err(mysql_async::Error::Server(e)) if e.code == ILLEGAL_MIX_OF_COLLATIONS => Ok(None),
                outcome => outcome,
            }
        })
        .await
    }

    /// How many rows the statement changed.
    ///
    /// # Errors
    /// See [`DatabaseFault`]; the rows may have been changed.
    pub async fn change(&self, statement: &Statement, values: Vec<Value>) -> Result<u64, DatabaseFault> {
        let sql = Arc::clone(&statement.sql);
        self.run(statement, async move |mut connection: Conn| {
            connection.exec_drop(&*sql, Params::Positional(values)).await?;
            Ok(connection.affected_rows())
        })
        .await
    }

    async fn run<T, F>(&self, statement: &Statement, work: F) -> Result<T, DatabaseFault>
    where
        F: AsyncFnOnce(Conn) -> mysql_async::Result<T>,
    {
        let begun = clock::instant();
        let whole = async { work(self.pool.get_conn().await?).await };
        let outcome = tokio::time::timeout(self.timeout, whole).await;
        DATABASE_SECONDS.with_label_values(&[statement.name]).observe(begun.elapsed().as_secs_f64());
        match outcome {
            Ok(result) => Ok(result?),
            Err(_) => Err(DatabaseFault::Late(self.timeout.as_millis())),
        }
    }
}

/// An id as decimal text; `None` for anything else than a whole number that is not negative.
pub fn decimal(id: &Value) -> Option<String> {
    match id {
        Value::Int(n) if *n >= 0 => Some(n.to_string()),
        Value::UInt(n) => Some(n.to_string()),
        Value::Bytes(text) => {
            let digits = std::str::from_utf8(text).ok()?;
            digits.parse::<u64>().ok().map(|n| n.to_string()).filter(|canonical| canonical == digits)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_numbers_are_ids() {
        let text = |t: &str| Value::Bytes(t.into());
        let table = [
            (Value::Int(42), Some("42")),
            (Value::UInt(u64::MAX), Some("18446744073709551615")),
            (text("7"), Some("7")),
            (Value::Int(-1), None),
            (text("07"), None),
            (text("+7"), None),
            (text("7a"), None),
            (text(""), None),
            (Value::NULL, None),
            (Value::Double(7.0), None),
        ];
        for (value, wanted) in table {
            assert_eq!(decimal(&value).as_deref(), wanted, "{value:?}");
        }
    }
}
