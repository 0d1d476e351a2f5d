//! Marks that a stream has carried over, and those who wait for them: no polling.

use banyan_core::OwnerEpoch;
use banyan_core::protocol::monolith::Direction;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// The most marks that are remembered for each direction. Owner epochs grow: the smallest go first.
const MARKS_MAX: usize = 1024;

/// Marks reached since this process started. One that was reached before is not known: its attempt is
/// restored.
#[derive(Debug, Default)]
pub struct Marks {
    forward: Mutex<BTreeSet<OwnerEpoch>>,
    reverse: Mutex<BTreeSet<OwnerEpoch>>,
    changed: Notify,
}

impl Marks {
    fn of(&self, direction: Direction) -> &Mutex<BTreeSet<OwnerEpoch>> {
        match direction {
            Direction::Forward => &self.forward,
            Direction::Reverse => &self.reverse,
        }
    }

    /// The other side has committed everything up to these marks.
    pub fn reach(&self, direction: Direction, marks: impl IntoIterator<Item = OwnerEpoch>) {
        let mut reached = self.of(direction).lock().unwrap_or_else(PoisonError::into_inner);
        let before = reached.len();
        reached.extend(marks);
        let changed = reached.len() != before;
        while reached.len() > MARKS_MAX {
            reached.pop_first();
        }
        drop(reached);
        if changed {
            self.changed.notify_waiters();
        }
    }

    fn has(&self, direction: Direction, mark: OwnerEpoch) -> bool {
        self.of(direction).lock().unwrap_or_else(PoisonError::into_inner).contains(&mark)
    }

    /// Waits for a mark; false where the time ran out first.
    pub async fn wait(&self, direction: Direction, mark: OwnerEpoch, limit: Duration) -> bool {
        let reached = async {
            loop {
                // Registered before looking, so that a mark in between wakes it.
                let changed = self.changed.notified();
                if self.has(direction, mark) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(limit, reached).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_waiter_is_woken_by_its_mark_in_its_direction() {
        let marks = Marks::default();
        let wait = |ms, direction| marks.wait(direction, OwnerEpoch(7), Duration::from_millis(ms));
        marks.reach(Direction::Reverse, [OwnerEpoch(7)]);
        assert!(wait(0, Direction::Reverse).await && !wait(5, Direction::Forward).await);
        let (reached, ()) = tokio::join!(wait(10_000, Direction::Forward), async {
            tokio::task::yield_now().await;
            marks.reach(Direction::Forward, [OwnerEpoch(6)]);
            marks.reach(Direction::Forward, [OwnerEpoch(7)]);
        });
        assert!(reached);
    }
}
