//! The first copy of a table: chunks by key between two bounds in the live stream, without locks.
//!
//! As in DBLog (Andreakis, Papapanagiotou 2020): write a low bound, read a chunk, write a high bound. The
//! stream, on reaching the high bound, drops the rows that it saw change between the bounds and carries the
//! rest with its position in one commit. A chunk that spans a change of the fence is read again. Progress
//! is the service's: after any failure the copy goes on behind the last chunk that it committed.

use crate::binlog::{Catalog, LoadedChunk};
use crate::capture::Capture;
use crate::error::Fault;
use crate::own::{self, HEARTBEAT};
use crate::schema::TableSchema;
use banyan_core::Row;
use banyan_core::protocol::import::{CopyChunk, CopyProgress};
use banyan_runtime::failpoints;
use banyan_runtime::tasks::Shutdown;
use mysql_async::Conn;
use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// How long a chunk may take from its low bound to its commit at the service.
const CHUNK_MAX: Duration = Duration::from_secs(30);
/// The name of the copy among the faults.
const FAULT: &str = "copy";

/// Where the copy leaves a chunk for the stream.
#[derive(Debug, Default)]
pub struct Desk {
    chunk: Mutex<Option<Pending>>,
}

#[derive(Debug)]
struct Pending {
    number: u64,
    table: String,
    key: String,
    rows: Option<CopyChunk>,
    committed: oneshot::Sender<()>,
}

/// What the stream has seen since the low bound of a chunk.
#[derive(Debug)]
pub struct Window {
    number: u64,
    table: String,
    keys: HashSet<u64>,
    spoiled: bool,
}

impl Window {
    /// Notes the rows of a transaction, and whether it changed the fence.
    pub fn see(&mut self, touched: &[(String, u64)], fenced: bool) {
        self.spoiled |= fenced;
        self.keys.extend(touched.iter().filter(|(table, _)| *table == self.table).map(|(_, key)| key));
    }
}

impl Desk {
    fn place(&self) -> std::sync::MutexGuard<'_, Option<Pending>> {
        self.chunk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, number: u64, table: &TableSchema) -> oneshot::Receiver<()> {
        let (committed, outcome) = oneshot::channel();
        let (name, key) = (table.name.clone(), table.key_name().to_owned());
        *self.place() = Some(Pending { number, table: name, key, rows: None, committed });
        outcome
    }

    fn load(&self, rows: CopyChunk) {
        if let Some(pending) = self.place().as_mut() {
            pending.rows = Some(rows);
        }
    }

    /// The window of the chunk whose low bound the stream has reached.
    pub fn window(&self, number: u64) -> Option<Window> {
        let place = self.place();
        let pending = place.as_ref().filter(|pending| pending.number == number)?;
        Some(Window { number, table: pending.table.clone(), keys: HashSet::new(), spoiled: false })
    }

    /// The chunk whose high bound the stream has reached, without the rows that it has overtaken; `None`
    /// where the chunk must be read again.
    pub fn collect(&self, number: u64, window: Window) -> Option<LoadedChunk> {
        let pending = self.place().take_if(|pending| pending.number == number)?;
        let mut chunk = pending.rows.filter(|_| window.number == number && !window.spoiled)?;
        let overtaken = |row: &Row| {
            let key = row.get(&pending.key).and_then(serde_json::Value::as_u64);
            key.is_some_and(|key| window.keys.contains(&key))
        };
        chunk.rows.retain(|row| !overtaken(row));
        Some(LoadedChunk { chunk, committed: pending.committed })
    }

    /// Gives the chunk up: the stream has begun anew.
    pub fn clear(&self) {
        *self.place() = None;
    }
}

/// Copies whatever the service has not got yet, each time that the forward stream begins.
pub async fn run(capture: Arc<Capture>, shutdown: Shutdown) -> Result<(), Infallible> {
    let mut copy = Copy { capture, connection: None, number: 0 };
    tokio::select! {
        never = copy.run() => match never {},
        () = shutdown.requested() => Ok(()),
    }
}

struct Copy {
    capture: Arc<Capture>,
    connection: Option<Conn>,
    number: u64,
}

impl Copy {
    async fn run(&mut self) -> Infallible {
        let mut sessions: watch::Receiver<u64> = self.capture.sessions.subscribe();
        loop {
            // Session 0 is before the first one.
            let session = *sessions.borrow_and_update();
            let outcome = if session == 0 { Ok(true) } else { self.copy_all(&sessions).await };
            match outcome {
                Ok(done) => {
                    self.capture.faults.clear(FAULT);
                    if done && sessions.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
                Err(fault) => {
                    self.connection = None;
                    self.capture.faults.set(FAULT, fault.to_string());
                    tokio::time::sleep(Duration::from_millis(self.capture.config.retry_ms_max)).await;
                }
            }
        }
    }

    /// Copies until all tables are done (true), or a chunk was lost with its session (false).
    async fn copy_all(&mut self, sessions: &watch::Receiver<u64>) -> Result<bool, Fault> {
        let catalog = self.capture.catalog().await?;
        let progress = self.capture.import_state().await?.copied;
        for table in &catalog.tables {
            let mut through = match progress.iter().find(|p| p.table == table.name) {
                Some(CopyProgress { done: true, .. }) => continue,
                Some(progress) => progress.through,
                None => None,
            };
            tracing::info!(table = table.name, through, "copying");
            loop {
                self.wait_for_the_stream(sessions).await;
                match self.copy_chunk(&catalog, table, through).await? {
                    Chunk::Lost => return Ok(false),
                    Chunk::Committed { done: true, .. } => break,
                    Chunk::Committed { through: reached, .. } => through = reached,
                }
                tokio::time::sleep(Duration::from_millis(self.capture.config.chunk_pause_ms)).await;
            }
            tracing::info!(table = table.name, "copied");
        }
        Ok(true)
    }

    /// Lets the stream catch up: the copy is never what makes it late.
    async fn wait_for_the_stream(&self, sessions: &watch::Receiver<u64>) {
        let late = || self.capture.beats.lag_ms() > self.capture.config.copy_lag_ms_max;
        while late() && !sessions.has_changed().unwrap_or(true) {
            tokio::time::sleep(Duration::from_millis(self.capture.config.heartbeat_ms)).await;
        }
    }

    async fn copy_chunk(
        &mut self,
        catalog: &Catalog,
        table: &TableSchema,
        after: Option<u64>,
    ) -> Result<Chunk, Fault> {
        let database = self.capture.database.clone();
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let mut connection = database.connect().await?;
                HEARTBEAT.create(&database, &mut connection).await?;
                connection
            }
        };
        self.number += 1;
        let outcome = self.capture.desk.begin(self.number, table);
        let bound = |number: u64| {
            let (name, writer) = (own::bounds_name(&catalog.capability), &self.capture.writer);
            heartbeat_statement(&name, writer, number)
        };
        database.run(&mut connection, &bound(self.number * 2)).await?;
        failpoints::before("sync", "chunk");
        let chunk = self.read_chunk(&mut connection, table, after).await?;
        let (through, done) = (chunk.through, chunk.done);
        self.capture.desk.load(chunk);
        database.run(&mut connection, &bound(self.number * 2 + 1)).await?;
        failpoints::after("sync", "chunk");
        self.connection = Some(connection);
        match tokio::time::timeout(CHUNK_MAX, outcome).await {
            Ok(Ok(())) => Ok(Chunk::Committed { through, done }),
            Ok(Err(_)) | Err(_) => Ok(Chunk::Lost),
        }
    }

    async fn read_chunk(
        &self,
        connection: &mut Conn,
        table: &TableSchema,
        after: Option<u64>,
    ) -> Result<CopyChunk, Fault> {
        let (key, limit) = (table.key_name(), self.capture.config.chunk_rows);
        let behind = after.map(|after| format!("WHERE `{key}` > {after}")).unwrap_or_default();
        let sql = format!(
            "SELECT {} FROM `{}` {behind} ORDER BY `{key}` LIMIT {limit}",
            table.select_list(),
            table.name
        );
        let page = crate::pages::select(&self.capture.database, connection, table, &sql).await?;
        let mut done = (page.len() as u64) < limit;
        let (mut rows, mut bytes, mut through) = (Vec::with_capacity(page.len()), 0, None);
        for row in page {
            bytes += row.values().map(|v| v.as_str().map_or(16, str::len) + 16).sum::<usize>();
            if bytes > self.capture.config.batch_bytes_max && !rows.is_empty() {
                done = false;
                break;
            }
            through = table.key_of(&row);
            rows.push(row);
        }
        let through = if done { None } else { through };
        Ok(CopyChunk { table: table.name.clone(), rows, through, done })
    }
}

enum Chunk {
    Committed { through: Option<u64>, done: bool },
    Lost,
}

/// Writes a heartbeat or a bound.
pub fn heartbeat_statement(name: &str, writer: &str, beat: u64) -> String {
    format!(
        "INSERT INTO {} (name, writer, beat) VALUES ('{name}', '{writer}', {beat})
         ON DUPLICATE KEY UPDATE writer = VALUES(writer), beat = VALUES(beat)",
        HEARTBEAT.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn desk() -> (Desk, oneshot::Receiver<()>) {
        let desk = Desk::default();
        let (committed, outcome) = oneshot::channel();
        let pending = Pending { number: 7, table: "t".into(), key: "id".into(), rows: None, committed };
        *desk.place() = Some(pending);
        (desk, outcome)
    }

    fn chunk() -> CopyChunk {
        let row = |id: u64| Row::from([("id".into(), json!(id))]);
        CopyChunk { table: "t".into(), rows: vec![row(1), row(2), row(3)], through: Some(3), done: false }
    }

    #[test]
    fn rows_that_changed_between_the_bounds_leave_the_chunk() {
        let (desk, mut outcome) = desk();
        let mut window = desk.window(7).unwrap();
        desk.load(chunk());
        window.see(&[("t".into(), 2), ("other".into(), 3)], false);
        let loaded = desk.collect(7, window).unwrap();
        assert_eq!(loaded.chunk.rows.iter().map(|r| r["id"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 3]);
        loaded.committed.send(()).unwrap();
        assert_eq!(outcome.try_recv(), Ok(()));
    }

    #[test]
    fn a_chunk_that_cannot_be_trusted_is_read_again() {
        for (number, fenced, loaded) in [(7, true, true), (7, false, false), (6, false, true)] {
            let (desk, mut outcome) = desk();
            let mut window = desk.window(7).unwrap();
            if loaded {
                desk.load(chunk());
            }
            window.see(&[], fenced);
            assert!(desk.collect(number, window).is_none());
            desk.clear();
            assert!(outcome.try_recv().is_err());
        }
    }
}
