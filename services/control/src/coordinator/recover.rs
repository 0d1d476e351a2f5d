//! After a start: what a predecessor left is restored or finished, never resumed.
//!
//! It begins when every lease of before the start has expired: a gateway that a predecessor's freeze did not
//! reach has stopped by then, and those that renewed route by the table that the journal has now.

use super::durable::Progress;
use super::effect::Now;
use super::{Coordinator, Gates, Stage};

impl Coordinator {
    pub(super) fn recover(&mut self, now: Now) {
        let Some(attempt) = &self.durable.attempt else {
            return self.enter(Stage::Idle(now.boot), now);
        };
        let progress = attempt.progress;
        self.gates = Gates { asked: true, kill: attempt.connection_id };
        match progress {
            Progress::Frozen | Progress::Marking => {
                self.restore("control was started anew during the attempt".into(), now);
            }
            Progress::Restoring => self.begin_undo(now),
            Progress::Opening => {
                self.commands = self.open_commands();
                self.enter(Stage::Open, now);
            }
        }
    }
}
