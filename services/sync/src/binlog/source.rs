//! The connection to the binlog: opened at a position, read until it breaks.
//!
//! Position means file and offset, which MariaDB 10.6+ and MySQL 8 both serve. The server is asked for a
//! sign of life every second; a connection that stays silent is given up.

use super::assemble::{Assembly, Group, Item, Purpose};
use super::catalog::Catalog;
use crate::capture::Capture;
use crate::database::{Database, DatabaseFault, code};
use crate::schema::{LoadFault, TableSchema};
use banyan_core::protocol::import::BinlogPosition;
use futures_util::StreamExt as _;
use mysql_async::binlog::events::Event;
use mysql_async::{BinlogStream, BinlogStreamRequest, Conn};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// How often the server says that it lives, in nanoseconds.
const SIGN_OF_LIFE_NS: u64 = 1_000_000_000;
/// How long the server may say nothing.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Why a stream ends.
#[derive(Debug, Error)]
pub enum StreamFault {
    /// The database fails.
    #[error(transparent)]
    Database(#[from] DatabaseFault),
    /// The file that is needed is gone.
    #[error(
        "the service needs the binlog from {file}:{offset}, and the monolith's server has {has}: the copy must \
         be made anew with an empty service; keep binlogs for longer than the longest outage"
    )]
    Purged {
        /// The file.
        file: String,
        /// The offset.
        offset: u64,
        /// What there is instead.
        has: String,
    },
    /// An event stops the stream.
    #[error(
        "the binlog cannot be followed at {place}: {cause}; once the service's rows have been made right, add \
         \"{place}\" to `acknowledged` in [sync] and restart sync"
    )]
    Event {
        /// File and position behind the event.
        place: String,
        /// Why.
        cause: String,
    },
    /// A table has changed its shape.
    #[error("table `{table}` has other columns since {place}; restart sync once the service knows them")]
    Reshaped {
        /// The table.
        table: String,
        /// File and position behind the statement.
        place: String,
    },
    /// A table cannot be captured.
    #[error(transparent)]
    Load(#[from] LoadFault),
    /// The server closed the stream, or says nothing.
    #[error("the monolith's server has ended the binlog stream: {0}")]
    Ended(&'static str),
}

/// The newest position of the binlog.
///
/// # Errors
/// The database fails, or writes no binlog.
pub async fn head(database: &Database, connection: &mut Conn) -> Result<BinlogPosition, DatabaseFault> {
    type Status = mysql_async::Row;
    let rows: Vec<Status> = match database.rows(connection, "SHOW MASTER STATUS").await {
        // MySQL 8.4 knows only the newer words.
        Err(DatabaseFault::Refused { .. }) => database.rows(connection, "SHOW BINARY LOG STATUS").await?,
        outcome => outcome?,
    };
    let position = rows.into_iter().next().and_then(|mut row| {
        Some(BinlogPosition { file: row.take_opt(0)?.ok()?, offset: row.take_opt(1)?.ok()? })
    });
    position.ok_or_else(|| DatabaseFault::Broken("it writes no binlog; set log_bin".into()))
}

/// An open stream.
pub struct Source {
    stream: BinlogStream,
    assembly: Assembly,
    capture: Arc<Capture>,
}

impl Source {
    /// Opens the stream behind a position.
    ///
    /// # Errors
    /// See [`StreamFault`].
    pub async fn open(
        capture: &Arc<Capture>,
        catalog: Arc<Catalog>,
        position: &BinlogPosition,
    ) -> Result<Self, StreamFault> {
        let database = &capture.database;
        let settings = [
            // Level 4: GTID events as they are (MariaDB, "Replication Protocol"); MySQL ignores the variable.
            "SET @mariadb_slave_capability = 4".to_owned(),
            format!("SET @master_heartbeat_period = {SIGN_OF_LIFE_NS}"),
        ];
        let mut connection = database.connect_with(&settings).await?;
        check_file(database, &mut connection, position).await?;
        let request = BinlogStreamRequest::new(capture.server_id)
            .with_filename(position.file.as_bytes())
            .with_pos(position.offset);
        let stream = database.bounded(connection.get_binlog_stream(request)).await?;
        let purpose = Purpose {
            catalog,
            desk: Arc::clone(&capture.desk),
            writer: Arc::clone(&capture.writer),
            acknowledged: Arc::new(capture.config.acknowledged.iter().cloned().collect()),
            transaction_bytes_max: capture.config.transaction_bytes_max,
        };
        let assembly = Assembly::new(purpose, position.clone());
        Ok(Self { stream, assembly, capture: Arc::clone(capture) })
    }

    /// The next transaction.
    ///
    /// # Errors
    /// See [`StreamFault`]; the stream is over.
    pub async fn next(&mut self) -> Result<Group, StreamFault> {
        loop {
            let event = self.event().await?;
            match self.assembly.feed(&event, &self.stream) {
                Ok(None) => {}
                Ok(Some(Item::Group(group))) => return Ok(group),
                Ok(Some(Item::Reshaped(table))) => self.reshaped(table).await?,
                Err(cause) => return Err(StreamFault::Event { place: self.assembly.place(), cause }),
            }
        }
    }

    async fn event(&mut self) -> Result<Event, StreamFault> {
        match tokio::time::timeout(SILENCE_MAX, self.stream.next()).await {
            Ok(Some(Ok(event))) => Ok(event),
            Ok(Some(Err(error))) => Err(self.refusal(error.into())),
            Ok(None) => Err(StreamFault::Ended("it closed the connection")),
            Err(_) => Err(StreamFault::Ended("no sign of life")),
        }
    }

    fn refusal(&self, fault: DatabaseFault) -> StreamFault {
        match fault {
            DatabaseFault::Refused { code: code::BINLOG_UNREADABLE, message } => {
                let place = self.assembly.place();
                let (file, offset) = place.rsplit_once(':').unwrap_or((&place, "0"));
                StreamFault::Purged {
                    file: file.into(),
                    offset: offset.parse().unwrap_or_default(),
                    has: format!("no such place: {message}"),
                }
            }
            other => StreamFault::Database(other),
        }
    }

    /// Reads a table's shape anew; goes on where the columns that the capability takes are the same.
    async fn reshaped(&mut self, table: String) -> Result<(), StreamFault> {
        let place = self.assembly.place();
        let known = self.assembly.purpose.catalog.table(&table).cloned();
        let (Some(declared), Some(known)) = (self.capture.capability.table(&table), known) else {
            return Ok(());
        };
        let mut connection = self.capture.database.connect().await?;
        let now = TableSchema::load(&self.capture.database, &mut connection, declared).await?;
        if !known.takes_the_same_as(&now) {
            return Err(StreamFault::Reshaped { table, place });
        }
        tracing::info!(table, place, "a table was altered; the captured columns are the same");
        let mut catalog = (*self.assembly.purpose.catalog).clone();
        catalog.tables.retain(|t| t.name != table);
        catalog.tables.push(Arc::new(now));
        let catalog = Arc::new(catalog);
        self.capture.follow(Arc::clone(&catalog));
        self.assembly.purpose.catalog = catalog;
        Ok(())
    }
}

/// Says exactly what is missing before the server's short words do.
async fn check_file(
    database: &Database,
    connection: &mut Conn,
    position: &BinlogPosition,
) -> Result<(), StreamFault> {
    let logs: Vec<mysql_async::Row> = database.rows(connection, "SHOW BINARY LOGS").await?;
    let logs: Vec<(String, u64)> = logs
        .into_iter()
        .filter_map(|mut row| Some((row.take_opt(0)?.ok()?, row.take_opt(1)?.ok()?)))
        .collect();
    let found = logs.iter().find(|(file, _)| *file == position.file);
    let has = match (found, logs.first(), logs.last()) {
        (Some((_, size)), ..) if *size >= position.offset => return Ok(()),
        (Some((_, size)), ..) => format!("only {size} bytes of it"),
        (None, Some((oldest, _)), Some((newest, _))) => format!("only {oldest} to {newest}"),
        _ => "none".into(),
    };
    Err(StreamFault::Purged { file: position.file.clone(), offset: position.offset, has })
}
