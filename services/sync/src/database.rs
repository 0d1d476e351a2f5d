//! Connections to the monolith's database: their session settings, deadlines and errors.
//!
//! Every connection speaks utf8mb4, counts time in UTC, takes zero and partial dates, and reads committed
//! rows without gap locks. A connection whose command did not end (an error, a deadline, a caller that went
//! away) is dropped, never reused: the server rolls its transaction back.

use crate::config::Config;
use mysql_async::prelude::{FromRow, Queryable as _};
use mysql_async::{Conn, Opts, OptsBuilder};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{Mutex, MutexGuard};

/// What every session sets. `NO_AUTO_VALUE_ON_ZERO` lets an id 0 travel.
const SESSION: &str = "SET SESSION time_zone = '+00:00', \
    sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'";
const ISOLATION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// MySQL's and MariaDB's error codes that decide something.
pub mod code {
    /// `ER_LOCK_WAIT_TIMEOUT`; MariaDB's answer to NOWAIT as well.
    pub const LOCK_WAIT_TIMEOUT: u16 = 1205;
    /// `ER_LOCK_NOWAIT` (MySQL 8).
    pub const LOCK_NOWAIT: u16 = 3572;
    /// `ER_LOCK_DEADLOCK`.
    pub const DEADLOCK: u16 = 1213;
    /// `ER_NO_SUCH_TABLE`.
    pub const NO_SUCH_TABLE: u16 = 1146;
    /// `ER_NO_SUCH_THREAD`.
    pub const NO_SUCH_THREAD: u16 = 1094;
    /// `ER_BINLOG_CREATE_ROUTINE_NEED_SUPER`: the user may not make triggers while binlogs are written.
    pub const CREATORS_NOT_TRUSTED: u16 = 1419;
    /// `ER_MASTER_FATAL_ERROR_READING_BINLOG`.
    pub const BINLOG_UNREADABLE: u16 = 1236;
}

/// Why a statement has no result. It may have been executed, unless the server said no.
#[derive(Debug, Error)]
pub enum DatabaseFault {
    /// Nothing came within the deadline.
    #[error("the monolith's database does not answer within {0} ms")]
    Late(u128),
    /// The server refused.
    #[error("the monolith's database says: {message} (error {code})")]
    Refused {
        /// Its error code.
        code: u16,
        /// Its message.
        message: String,
    },
    /// The connection could not be made or broke.
    #[error("the connection to the monolith's database broke: {0}")]
    Broken(String),
}

impl DatabaseFault {
    /// Whether a row is locked by another transaction.
    pub fn is_locked(&self) -> bool {
        self.is(code::LOCK_WAIT_TIMEOUT) || self.is(code::LOCK_NOWAIT) || self.is(code::DEADLOCK)
    }

    /// Whether the server refused with this code.
    pub fn is(&self, wanted: u16) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == wanted)
    }
}

impl From<mysql_async::Error> for DatabaseFault {
    fn from(error: mysql_async::Error) -> Self {
        match error {
            mysql_async::Error::Server(e) => Self::Refused { code: e.code, message: e.message },
            other => Self::Broken(other.to_string()),
        }
    }
}

/// The monolith's database. Clones share the address.
#[derive(Clone, Debug)]
pub struct Database {
    options: Opts,
    user: Arc<str>,
    schema: Arc<str>,
    connect_max: Duration,
    statement_max: Duration,
}

impl Database {
    /// Reads the address; connects later.
    ///
    /// # Errors
    /// The address cannot be read, or names no user or no database.
    pub fn new(url: &str, config: &Config) -> Result<Self, String> {
        let address = Opts::from_url(url).map_err(|e| e.to_string())?;
        let user = address.user().ok_or("it names no user")?.into();
        let schema = address.db_name().ok_or("it names no database")?.into();
        // The user's rights are for the address in the configuration, not for the socket behind it.
        let options = OptsBuilder::from_opts(address).prefer_socket(false).tcp_nodelay(true);
        Ok(Self {
            options: options.client_found_rows(true).into(),
            user,
            schema,
            connect_max: Duration::from_millis(config.connect_ms_max),
            statement_max: config.statement_max(),
        })
    }

    /// Banyan's own user: triggers let it pass, it is no holder of gates.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The database's name.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// A new connection, set up.
    ///
    /// # Errors
    /// See [`DatabaseFault`].
    pub async fn connect(&self) -> Result<Conn, DatabaseFault> {
        self.connect_with(&[]).await
    }

    /// A new connection with further settings.
    ///
    /// # Errors
    /// See [`DatabaseFault`].
    pub async fn connect_with(&self, settings: &[String]) -> Result<Conn, DatabaseFault> {
        let made = async {
            let mut connection = Conn::new(self.options.clone()).await?;
            for statement in ["SET NAMES utf8mb4", SESSION, ISOLATION] {
                connection.query_drop(statement).await?;
            }
            for statement in settings {
                connection.query_drop(statement.as_str()).await?;
            }
            Ok(connection)
        };
        within(self.connect_max, made).await
    }

    /// Bounds one or more statements by the deadline of a statement.
    ///
    /// # Errors
    /// See [`DatabaseFault`].
    pub async fn bounded<T>(
        &self,
        work: impl Future<Output = mysql_async::Result<T>>,
    ) -> Result<T, DatabaseFault> {
        within(self.statement_max, work).await
    }

    /// All rows of one query.
    ///
    /// # Errors
    /// See [`DatabaseFault`].
    pub async fn rows<T: FromRow + Send + 'static>(
        &self,
        connection: &mut Conn,
        sql: &str,
    ) -> Result<Vec<T>, DatabaseFault> {
        self.bounded(connection.query(sql)).await
    }

    /// Runs one statement; how many rows it matched.
    ///
    /// # Errors
    /// See [`DatabaseFault`].
    pub async fn run(&self, connection: &mut Conn, sql: &str) -> Result<u64, DatabaseFault> {
        self.bounded(connection.query_drop(sql)).await?;
        Ok(connection.affected_rows())
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = mysql_async::Result<T>>,
) -> Result<T, DatabaseFault> {
    match tokio::time::timeout(limit, work).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(DatabaseFault::Late(limit.as_millis())),
    }
}

/// A place for one long-lived connection of one purpose.
#[derive(Debug)]
pub struct Slot {
    database: Database,
    settings: Vec<String>,
    idle: Mutex<Option<Conn>>,
}

/// The connection of a slot, for one command at a time.
#[derive(Debug)]
pub struct Lease<'s> {
    idle: MutexGuard<'s, Option<Conn>>,
    /// The connection.
    pub connection: Conn,
}

impl Slot {
    /// An empty slot; connections get these settings.
    pub fn new(database: &Database, settings: Vec<String>) -> Self {
        Self { database: database.clone(), settings, idle: Mutex::new(None) }
    }

    /// The slot's connection, once it is free: the one that was kept where it still lives, else a new one.
    ///
    /// # Errors
    /// See [`DatabaseFault`].
    pub async fn lease(&self) -> Result<Lease<'_>, DatabaseFault> {
        let mut idle = self.idle.lock().await;
        if let Some(mut connection) = idle.take()
            && self.database.bounded(connection.ping()).await.is_ok()
        {
            return Ok(Lease { idle, connection });
        }
        let connection = self.database.connect_with(&self.settings).await?;
        Ok(Lease { idle, connection })
    }
}

impl Lease<'_> {
    /// Keeps the connection for the next command. Without this call it is closed.
    pub fn keep(mut self) {
        *self.idle = Some(self.connection);
    }
}
