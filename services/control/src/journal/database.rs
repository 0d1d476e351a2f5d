//! A connection on a thread of its own, so that no async task waits for the disk.
//!
//! Jobs run one after another; the thread ends when the last handle is gone.

use super::Fault;
use rusqlite::Connection;
use std::path::Path;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How many jobs wait before those who ask have to.
const JOBS_MAX: usize = 64;
/// How long another process may keep the file locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

type Job<T> = Box<dyn FnOnce(&mut T) + Send>;

/// A handle on something that lives on its own thread.
#[derive(Debug)]
pub(super) struct Database<T>(mpsc::Sender<Job<T>>);

impl<T> Clone for Database<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Send + 'static> Database<T> {
    /// Starts the thread.
    pub fn start(name: &str, mut state: T) -> Result<Self, Fault> {
        let (sender, mut jobs) = mpsc::channel::<Job<T>>(JOBS_MAX);
        let work = move || {
            while let Some(job) = jobs.blocking_recv() {
                job(&mut state);
            }
        };
        let started = std::thread::Builder::new().name(name.into()).spawn(work);
        started.map(|_| Self(sender)).map_err(|_| Fault::Closed)
    }

    /// Runs a job and waits for it. Who stops waiting does not stop the job.
    pub async fn run<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut T) -> Result<R, Fault> + Send + 'static,
    ) -> Result<R, Fault> {
        let (answer, answered) = oneshot::channel();
        let job: Job<T> = Box::new(move |state| {
            // Nobody may be waiting any more.
            let _ = answer.send(job(state));
        });
        self.0.send(job).await.map_err(|_| Fault::Closed)?;
        answered.await.map_err(|_| Fault::Closed)?
    }
}

/// Opens the file with the settings that durability needs.
pub(super) fn connect(path: &Path) -> Result<Connection, Fault> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}
