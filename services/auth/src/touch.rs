//! Keeps sliding expiry alive while traffic goes past the monolith: a background task sets the last
//! activity of sessions that are in use, several in one statement, off the path of any answer.
//!
//! A touch only updates a row that is there and never sets it back: it inserts nothing and cannot revive a
//! deleted session. A touch that fails, or finds the queue full, costs nothing: the session's next request
//! asks again, long before the lifetime ends.

use crate::config::Config;
use crate::database::{Database, Statement};
use crate::metrics::TOUCHES;
use crate::session::SessionId;
use banyan_runtime::tasks::{OnError, Shutdown, Tasks};
use mysql_async::Value;
use std::convert::Infallible;
use tokio::sync::mpsc;

/// The most sessions that wait to be touched.
const QUEUE_MAX: usize = 4096;
/// The most sessions that one statement touches.
const BATCH_MAX: usize = 16;

struct Due {
    id: SessionId,
    now_s: i64,
}

/// Where sessions in use are reported.
#[derive(Clone)]
pub struct Toucher {
    queue: mpsc::Sender<Due>,
}

impl Toucher {
    /// Starts the task. At shutdown it finishes what is queued.
    pub fn start(database: Database, config: &Config, tasks: &Tasks) -> Self {
        let (queue, due) = mpsc::channel(QUEUE_MAX);
        let worker = Worker { database, statement: statement(&config.sessions_table), due };
        tasks.spawn("session touch", OnError::StopProcess, worker.run(tasks.shutdown()));
        Self { queue }
    }

    /// Asks for the session's last activity to become `now_s`, seconds since 1970.
    pub fn report(&self, id: SessionId, now_s: i64) {
        if self.queue.try_send(Due { id, now_s }).is_err() {
            TOUCHES.with_label_values(&["dropped"]).inc();
        }
    }
}

struct Worker {
    database: Database,
    statement: Statement,
    due: mpsc::Receiver<Due>,
}

impl Worker {
    async fn run(mut self, shutdown: Shutdown) -> Result<(), Infallible> {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                received = self.due.recv_many(&mut batch, BATCH_MAX) => {
                    if received == 0 {
                        return Ok(());
                    }
                }
                () = shutdown.requested(), if !self.due.is_closed() => self.due.close(),
            }
            self.touch(&batch).await;
            batch.clear();
        }
    }

    async fn touch(&self, batch: &[Due]) {
        let Some(newest) = batch.iter().map(|due| due.now_s).max() else { return };
        // A batch that is not full repeats an id, so that one prepared statement serves every size.
        let ids = (0..BATCH_MAX).map(|i| Value::from(batch[i % batch.len()].id.expose()));
        let values = [newest.into()].into_iter().chain(ids).chain([newest.into()]).collect();
        let touches = |outcome: &str, count: u64| TOUCHES.with_label_values(&[outcome]).inc_by(count);
        match self.database.change(&self.statement, values).await {
            Ok(rows) => touches("touched", rows),
            Err(error) => {
                tracing::warn!(%error, sessions = batch.len(), "sessions were not touched; their next requests ask again");
                touches("failed", batch.len() as u64);
            }
        }
    }
}

fn statement(table: &str) -> Statement {
    let places = vec!["?"; BATCH_MAX].join(", ");
    let sql = format!("UPDATE `{table}` SET last_activity = ? WHERE id IN ({places}) AND last_activity < ?");
    Statement::new("session_touch", sql)
}
