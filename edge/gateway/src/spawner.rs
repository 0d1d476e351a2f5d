//! Tasks of one worker: the drivers of upstream connections, and exchanges that go on without their client.
//!
//! They end by themselves; a panic of one is logged and concerns no other. When the worker ends, it waits for
//! those that must be finished and drops the rest with its runtime.

use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::{JoinError, JoinSet};

/// Starts tasks on the worker's runtime. Clones share the tasks.
#[derive(Clone, Debug, Default)]
pub struct Spawner(Arc<Mutex<JoinSet<()>>>);

impl Spawner {
    /// Starts a task on the current runtime. Outside of one, which is where a worker is being torn down, the
    /// task is dropped.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = tasks.try_join_next() {
            report(ended);
        }
        tasks.spawn_on(task, &runtime);
    }

    /// Waits for all tasks.
    pub async fn finish(&self) {
        loop {
            let mut tasks = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
            if tasks.is_empty() {
                return;
            }
            while let Some(ended) = tasks.join_next().await {
                report(ended);
            }
        }
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a task of the gateway panicked");
    }
}
