//! How far a gateway is: its sockets are open, it accepts, another process accepts in its place.

use tokio::sync::watch;

/// A stage; it only goes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Everything is ready, and nothing is accepted.
    Prepared,
    /// Clients are accepted.
    Accepting,
    /// Another process accepts on the same sockets. Connections go on, and are closed by their next answer.
    Retired,
}

/// The stage as workers and connections see it.
#[derive(Clone, Debug)]
pub struct Stages(watch::Receiver<Stage>);

/// What moves the stage.
#[derive(Debug)]
pub struct Mover(watch::Sender<Stage>);

impl Mover {
    /// A gateway that is prepared.
    pub fn new() -> Self {
        Self(watch::channel(Stage::Prepared).0)
    }

    /// Goes on to a stage; one that has passed stays passed.
    pub fn go(&self, to: Stage) {
        self.0.send_if_modified(|stage| {
            let higher = to > *stage;
            *stage = to.max(*stage);
            higher
        });
    }

    /// A view of the stage.
    pub fn stages(&self) -> Stages {
        Stages(self.0.subscribe())
    }
}

impl Stages {
    /// The stage now.
    pub fn now(&self) -> Stage {
        *self.0.borrow()
    }

    /// Resolves when the stage has been reached.
    pub async fn reached(&self, wanted: Stage) {
        if self.0.clone().wait_for(|stage| *stage >= wanted).await.is_err() {
            // Nobody is left who could move it.
            std::future::pending::<()>().await;
        }
    }
}
