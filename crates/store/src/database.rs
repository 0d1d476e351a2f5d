//! One SQLite file: opening it, the connection that writes, the connections that read beside it.
//!
//! WAL, `synchronous=FULL`: what was committed survives a power cut. A lock file keeps a second process away
//! for as long as the database is open. Readers see the last commit and never block the writer.

use crate::fault::Fault;
use crate::migrations::{Migration, migrate};
use banyan_runtime::clock;
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Pages of the WAL after which the writer checkpoints: some 16 MB, so that one checkpoint stays short.
const CHECKPOINT_PAGES: u32 = 4000;
/// How much of the WAL file is kept after a checkpoint, in bytes.
const WAL_BYTES_KEPT: u32 = 64 << 20;
/// Page cache of each connection, in KiB.
const CACHE_KIB: u32 = 16 << 10;
/// How long to wait for a lock of another connection, in milliseconds.
const BUSY_MS: u32 = 2000;
/// Prepared statements kept by each connection.
const STATEMENTS_MAX: usize = 128;

/// An open database. The file stays locked against other processes until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Database {
    path: Arc<Path>,
    _lock: Arc<File>,
}

impl Database {
    /// Opens the file, or makes it with mode 0600 rights of its folder, and applies what migrations are
    /// missing.
    ///
    /// # Errors
    /// Another process has it open, it cannot be written, or its migrations do not match.
    pub fn open(path: &Path, migrations: &[Migration]) -> Result<Self, Fault> {
        let unusable = |error: std::io::Error| Fault::ReadOnly(format!("{}: {error}", path.display()));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(unusable)?;
        }
        let lock = File::create(path.with_added_extension("lock")).map_err(unusable)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Fault::Locked(path.display().to_string()),
            TryLockError::Error(error) => unusable(error),
        })?;
        let database = Self { path: path.into(), _lock: Arc::new(lock) };
        migrate(&mut database.writer()?, migrations, clock::unix_ms())?;
        Ok(database)
    }

    /// A connection that may write. There must be one at a time.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn writer(&self) -> Result<Connection, Fault> {
        let connection = Connection::open(&self.path)?;
        tune(&connection)?;
        connection.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}; PRAGMA journal_size_limit = {WAL_BYTES_KEPT};"
        ))?;
        Ok(connection)
    }

    /// Connections that only read, at most `count` at a time.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn readers(&self, count: usize) -> Result<Readers, Fault> {
        let open = || -> Result<Connection, Fault> {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&self.path, flags)?;
            tune(&connection)?;
            Ok(connection)
        };
        let idle = (0..count.max(1)).map(|_| open()).collect::<Result<Vec<_>, _>>()?;
        let permits = Arc::new(Semaphore::new(idle.len()));
        Ok(Readers { idle: Arc::new(Mutex::new(idle)), permits, database: self.clone() })
    }

    /// Where the file is.
    pub fn path(&self) -> PathBuf {
        self.path.to_path_buf()
    }
}

fn tune(connection: &Connection) -> Result<(), Fault> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.execute_batch(&format!(
        "PRAGMA busy_timeout = {BUSY_MS}; PRAGMA cache_size = -{CACHE_KIB}; PRAGMA temp_store = MEMORY;"
    ))?;
    Ok(())
}

/// A fixed number of connections that only read.
#[derive(Clone, Debug)]
pub struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
    database: Database,
}

impl Readers {
    /// Runs a read on a connection of its own, in one snapshot, off the async threads. Waits for a
    /// connection to be free.
    ///
    /// # Errors
    /// What the read returns; a read that panics is [`Fault::Broken`].
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| Fault::Stopped)?;
        let this = self.clone();
        let work = move || {
            let _permit = permit;
            let mut lent = Lent { connection: this.take(), readers: &this };
            let Some(connection) = &mut lent.connection else { return Err(Fault::Stopped) };
            let snapshot = connection.transaction()?;
            read(&snapshot)
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| Err(Fault::Broken(format!("a read ended early: {error}"))))
    }

    fn take(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// The database that is read.
    pub fn database(&self) -> &Database {
        &self.database
    }
}

/// Gives a connection back, also when the read panics.
struct Lent<'r> {
    connection: Option<Connection>,
    readers: &'r Readers,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path) -> Result<Database, Fault> {
        Database::open(&folder.join("a.db"), &[])
    }

    #[test]
    fn a_second_opening_is_refused_until_the_first_ends() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path()).unwrap();
        let second = open(folder.path()).unwrap_err();
        assert!(matches!(second, Fault::Locked(_)), "{second}");
        drop(first);
        assert!(open(folder.path()).is_ok());
    }

    #[test]
    fn what_was_committed_is_synchronised() {
        let folder = tempfile::tempdir().unwrap();
        let writer = open(folder.path()).unwrap().writer().unwrap();
        let pragma = |name: &str| -> String {
            writer
                .query_row(&format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}"), [], |r| r.get(0))
                .unwrap()
        };
        assert_eq!((pragma("journal_mode").as_str(), pragma("synchronous").as_str()), ("wal", "2"));
    }

    #[tokio::test]
    async fn readers_see_commits_cannot_write_and_survive_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let database = open(folder.path()).unwrap();
        let (writer, readers) = (database.writer().unwrap(), database.readers(1).unwrap());
        let fault = readers.read(|db| Ok(db.execute_batch("DELETE FROM outbox")?)).await.unwrap_err();
        assert!(matches!(fault, Fault::ReadOnly(_)), "{fault}");
        let broken = readers.read(|db| -> Result<(), Fault> { panic!("{}", db.is_autocommit()) }).await;
        assert!(matches!(broken, Err(Fault::Broken(_))));
        writer.execute_batch("UPDATE ownership SET open = 1 WHERE bucket < 3").unwrap();
        let open = readers
            .read(|db| Ok(db.query_row("SELECT sum(open) FROM ownership", [], |row| row.get::<_, i64>(0))?))
            .await;
        assert_eq!(open, Ok(3));
    }
}
