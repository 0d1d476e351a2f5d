//! Gates: rows that writers lock shared and the coordinator exclusively, held by one connection.
//!
//! The coordinator never stands in a lock queue: NOWAIT with retries, then whatever SKIP LOCKED yields. If
//! this process dies or hangs, the server drops the silent connection after seconds and the gates with it.

use crate::config::Config;
use crate::database::{Database, DatabaseFault, code};
use crate::error::Fault;
use crate::own::GATE;
use banyan_core::protocol::monolith::{GatesRelease, GatesTake, GatesTaken, OpenTransaction};
use banyan_core::{Bucket, BucketSet, Turn};
use banyan_runtime::{clock, failpoints};
use mysql_async::Conn;
use std::time::Duration;
use tokio::sync::Mutex;

/// The most characters of a statement that are shown.
const STATEMENT_CHARS_MAX: usize = 200;
/// The most open transactions that are named.
const HOLDERS_MAX: usize = 20;

/// The gates of one capability.
#[derive(Debug)]
pub struct Gates {
    capability: String,
    database: Database,
    idle_s_max: u64,
    retry: Duration,
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    turn: Turn,
    connection: Conn,
}

impl Gates {
    /// No gate is held.
    pub fn new(capability: &str, database: &Database, config: &Config) -> Self {
        Self {
            capability: capability.into(),
            database: database.clone(),
            idle_s_max: config.gate_idle_s_max,
            retry: Duration::from_millis(config.gate_retry_ms),
            held: Mutex::new(None),
        }
    }

    /// Takes gates; those of a lower turn are released first.
    ///
    /// # Errors
    /// A higher turn holds gates, they are not installed, or the database fails: then none is held.
    pub async fn take(&self, command: &GatesTake) -> Result<GatesTaken, Fault> {
        if command.buckets.is_empty() {
            return Err(Fault::Malformed("`buckets` is empty".into()));
        }
        let mut held = self.held.lock().await;
        if held.as_ref().is_some_and(|held| held.turn > command.turn) {
            return Err(Fault::StaleTurn(self.capability.clone()));
        }
        let mut connection = match held.take() {
            Some(before) => self.renew(before).await?,
            None => self.connect().await?,
        };
        failpoints::before("sync", "take_gates");
        let (taken, complete) = self.lock(&mut connection, command).await?;
        failpoints::after("sync", "take_gates");
        let xa: Vec<mysql_async::Row> = self.database.rows(&mut connection, "XA RECOVER").await?;
        let holders = if complete { Vec::new() } else { holders(&self.database, &mut connection).await? };
        let connection_id = u64::from(connection.id());
        *held = Some(Held { turn: command.turn, connection });
        Ok(GatesTaken { connection_id, taken, holders, xa_prepared: xa.len() as u64 })
    }

    /// Releases the gates of an attempt, and kills the connection of a predecessor where one is named.
    ///
    /// # Errors
    /// The database fails.
    pub async fn release(&self, command: &GatesRelease) -> Result<(), Fault> {
        let mut held = self.held.lock().await;
        failpoints::before("sync", "release_gates");
        // Dropped, not kept: its rows are free when the server has closed it, whatever state it is in.
        if let Some(mut mine) = held.take_if(|held| held.turn.attempt == command.attempt)
            && self.database.run(&mut mine.connection, "ROLLBACK").await.is_ok()
        {
            tokio::time::timeout(Duration::from_secs(1), mine.connection.disconnect()).await.ok();
        }
        failpoints::after("sync", "release_gates");
        let in_use = held.as_ref().map(|held| u64::from(held.connection.id()));
        match command.kill_connection_id {
            Some(id) if in_use != Some(id) => self.kill(id).await,
            _ => Ok(()),
        }
    }

    /// Ends a connection of a predecessor. Ids begin anew when the server restarts: one that now belongs to
    /// somebody else is left alone.
    async fn kill(&self, id: u64) -> Result<(), Fault> {
        let mut connection = self.database.connect().await?;
        let own = format!(
            "SELECT id FROM information_schema.processlist WHERE id = {id} AND user = '{}'",
            self.database.user()
        );
        let own: Vec<u64> = self.database.rows(&mut connection, &own).await?;
        if own.is_empty() {
            return Ok(());
        }
        match self.database.run(&mut connection, &format!("KILL {id}")).await {
            Err(fault) if !fault.is(code::NO_SUCH_THREAD) => Err(fault.into()),
            _ => Ok(()),
        }
    }

    async fn connect(&self) -> Result<Conn, DatabaseFault> {
        let idle = format!("SET SESSION wait_timeout = {}", self.idle_s_max);
        self.database.connect_with(&[idle]).await
    }

    async fn renew(&self, mut before: Held) -> Result<Conn, DatabaseFault> {
        match self.database.run(&mut before.connection, "ROLLBACK").await {
            Ok(_) => Ok(before.connection),
            Err(_) => self.connect().await,
        }
    }

    /// What could be locked, and whether it is all.
    async fn lock(&self, connection: &mut Conn, command: &GatesTake) -> Result<(BucketSet, bool), Fault> {
        let begun = clock::instant();
        let patience = Duration::from_millis(command.patience_ms);
        loop {
            match self.select(connection, &command.buckets, "NOWAIT").await {
                Ok(taken) if taken == command.buckets => return Ok((taken, true)),
                Ok(_) => return Err(Fault::NotInstalled(self.capability.clone())),
                Err(fault) if fault.is_locked() => {}
                Err(fault) => return Err(fault.into()),
            }
            // MariaDB keeps the rows that the statement had locked before it failed.
            self.database.run(connection, "ROLLBACK").await?;
            if begun.elapsed() >= patience {
                let taken = self.select(connection, &command.buckets, "SKIP LOCKED").await?;
                let complete = taken == command.buckets;
                return Ok((taken, complete));
            }
            tokio::time::sleep(self.retry).await;
        }
    }

    async fn select(
        &self,
        connection: &mut Conn,
        buckets: &BucketSet,
        how: &str,
    ) -> Result<BucketSet, DatabaseFault> {
        self.database.run(connection, "START TRANSACTION").await?;
        let rows = super::rows(GATE, &self.capability, buckets);
        let sql = format!("SELECT x.bucket FROM {rows} FOR UPDATE {how}");
        let locked: Vec<u16> = self.database.rows(connection, &sql).await?;
        Ok(locked.into_iter().filter_map(|number| Bucket::try_from(number).ok()).collect())
    }
}

/// Open transactions of others that hold locks, oldest first.
///
/// # Errors
/// The database fails.
pub async fn holders(
    database: &Database,
    connection: &mut Conn,
) -> Result<Vec<OpenTransaction>, DatabaseFault> {
    let sql = format!(
        "SELECT t.trx_mysql_thread_id, p.user, TIMESTAMPDIFF(MICROSECOND, t.trx_started, NOW(6)) DIV 1000,
                LEFT(p.info, {STATEMENT_CHARS_MAX})
           FROM information_schema.innodb_trx t
           JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id
          WHERE p.user <> '{}' AND t.trx_lock_structs > 0
          ORDER BY t.trx_started, p.id LIMIT {HOLDERS_MAX}",
        database.user()
    );
    let rows: Vec<(u64, String, i64, Option<String>)> = database.rows(connection, &sql).await?;
    let open = |(connection_id, user, age, statement): (u64, String, i64, Option<String>)| OpenTransaction {
        connection_id,
        user,
        age_ms: u64::try_from(age).unwrap_or(0),
        statement,
    };
    Ok(rows.into_iter().map(open).collect())
}

/// An open transaction for people.
pub fn in_words(open: &OpenTransaction) -> String {
    let statement = open.statement.as_deref().unwrap_or("no statement");
    format!("connection {} of {} since {} ms ({statement})", open.connection_id, open.user, open.age_ms)
}
