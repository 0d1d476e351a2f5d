//! The task supervisor: every background task has a name, a reaction to its failure, and ends at shutdown.
//!
//! At [`Tasks::stop`] shutdown is requested; tasks end by themselves, and those that have not at the
//! deadline are aborted. A panic counts as an error of the task.

use std::fmt::Display;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What happens when a task ends with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The error is logged; the others go on.
    Log,
    /// The error is logged, and the whole process shuts down with it.
    StopProcess,
}

/// A request to end, shared by all tasks.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// Resolves once shutdown has been requested.
    pub async fn requested(&self) {
        // An error means that the supervisor is gone: that is a shutdown too.
        let _ = self.0.clone().wait_for(|requested| *requested).await;
    }

    /// Whether shutdown has been requested.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }
}

/// The supervisor. Clones share the same tasks.
#[derive(Clone, Debug)]
pub struct Tasks {
    request: Arc<watch::Sender<bool>>,
    running: Arc<Mutex<JoinSet<()>>>,
    failure: Arc<Mutex<Option<String>>>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    /// A supervisor without tasks.
    pub fn new() -> Self {
        Self { request: Arc::new(watch::channel(false).0), running: Arc::default(), failure: Arc::default() }
    }

    /// Starts a task on the current runtime.
    pub fn spawn<E: Display>(
        &self,
        name: &'static str,
        on_error: OnError,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let supervisor = self.clone();
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        while running.try_join_next().is_some() {}
        running.spawn(async move {
            let guard = PanicGuard { supervisor: &supervisor, name, on_error, armed: true };
            let outcome = task.await;
            guard.disarm();
            if let Err(error) = outcome {
                supervisor.failed(name, on_error, &error.to_string());
            }
        });
    }

    fn failed(&self, name: &'static str, on_error: OnError, error: &str) {
        tracing::error!(task = name, error, "task failed");
        if on_error == OnError::StopProcess {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert_with(|| format!("{name}: {error}"));
            self.request_shutdown();
        }
    }

    /// The request to end that tasks wait for.
    pub fn shutdown(&self) -> Shutdown {
        Shutdown(self.request.subscribe())
    }

    /// Asks all tasks to end.
    pub fn request_shutdown(&self) {
        self.request.send_replace(true);
    }

    /// The first error of a task whose failure stops the process.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Requests shutdown, waits for the tasks, and aborts those that are still running at the deadline.
    pub async fn stop(&self, deadline: Duration) {
        self.request_shutdown();
        let mut running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        let all = async { while running.join_next().await.is_some() {} };
        if tokio::time::timeout(deadline, all).await.is_err() {
            tracing::warn!(tasks = running.len(), "tasks aborted at the shutdown deadline");
            running.shutdown().await;
        }
    }
}

/// Reports a task that unwound instead of returning.
struct PanicGuard<'t> {
    supervisor: &'t Tasks,
    name: &'static str,
    on_error: OnError,
    armed: bool,
}

impl PanicGuard<'_> {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if self.armed && std::thread::panicking() {
            self.supervisor.failed(self.name, self.on_error, "panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failing_task_stops_the_process_only_where_it_says_so() {
        let tasks = Tasks::new();
        tasks.spawn("quiet", OnError::Log, async { Err("small") });
        let shutdown = tasks.shutdown();
        tasks.spawn("waits", OnError::Log, async move {
            shutdown.requested().await;
            Ok::<_, String>(())
        });
        assert_eq!(tasks.failure(), None);
        tasks.spawn("loud", OnError::StopProcess, async { Err("large") });
        tasks.shutdown().requested().await;
        assert_eq!(tasks.failure().as_deref(), Some("loud: large"));
        tasks.stop(Duration::from_secs(5)).await;
    }

    #[tokio::test]
    async fn a_panic_is_a_failure() {
        let tasks = Tasks::new();
        tasks.spawn("breaks", OnError::StopProcess, async {
            if tasks_can_panic() {
                panic!("as planned");
            }
            Ok::<_, String>(())
        });
        tasks.shutdown().requested().await;
        assert_eq!(tasks.failure().as_deref(), Some("breaks: panicked"));
    }

    fn tasks_can_panic() -> bool {
        true
    }

    #[tokio::test]
    async fn a_task_that_ignores_shutdown_is_aborted() {
        let tasks = Tasks::new();
        tasks.spawn("stubborn", OnError::Log, std::future::pending::<Result<(), String>>());
        tasks.stop(Duration::from_millis(10)).await;
    }
}
