//! A bound on how many of something there are, which can be moved while it is in use.
//!
//! Invariant: what has a place counts against the bound in force, also where it came in under an earlier one.
//! A bound that shrinks throws nobody out: places above it are taken back as they become free.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The bound; its places are shared by all workers.
#[derive(Debug)]
pub struct Bound {
    places: Arc<Semaphore>,
    size: Mutex<Size>,
}

#[derive(Debug)]
struct Size {
    max: usize,
    /// Places that are taken and above the bound.
    owed: usize,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub struct Permit {
    bound: Arc<Bound>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Bound {
    /// So many places, all of them free.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { places: Arc::new(Semaphore::new(max)), size: Mutex::new(Size { max, owed: 0 }) })
    }

    /// The bound in force.
    pub fn max(&self) -> usize {
        self.lock().max
    }

    /// Moves the bound.
    pub fn resize(&self, max: usize) {
        let mut size = self.lock();
        if max >= size.max {
            let more = max - size.max;
            let forgiven = size.owed.min(more);
            size.owed -= forgiven;
            self.places.add_permits(more - forgiven);
        } else {
            let fewer = size.max - max;
            size.owed += fewer - self.places.forget_permits(fewer);
        }
        size.max = max;
    }

    /// A place, as soon as one is free; the first to wait is the first to get one.
    pub async fn enter(self: &Arc<Self>) -> Permit {
        // Nobody closes the places; were they closed, nothing would be bounded any more.
        let permit = Arc::clone(&self.places).acquire_owned().await.ok();
        Permit { bound: Arc::clone(self), permit }
    }

    /// A place that is free now. Whoever waits already is not overtaken.
    pub fn try_enter(self: &Arc<Self>) -> Option<Permit> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Permit { bound: Arc::clone(self), permit: Some(permit) })
    }

    /// Resolves when no place is taken.
    pub async fn emptied(&self) {
        let max = u32::try_from(self.max()).unwrap_or(u32::MAX);
        // Places are never closed.
        let _ = self.places.acquire_many(max).await;
    }

    fn lock(&self) -> MutexGuard<'_, Size> {
        self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut size = self.bound.lock();
        if size.owed > 0
            && let Some(permit) = self.permit.take()
        {
            size.owed -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn enter(bound: &Arc<Bound>) -> Option<Permit> {
        bound.enter().now_or_never()
    }

    #[tokio::test]
    async fn a_bound_moves_while_its_places_are_taken() {
        let bound = Bound::new(3);
        let mut taken: Vec<Permit> = (0..3).map(|_| enter(&bound).unwrap()).collect();
        assert!(enter(&bound).is_none());
        bound.resize(1);
        taken.truncate(1);
        assert!(enter(&bound).is_none(), "two places were above the bound");
        bound.resize(2);
        taken.push(enter(&bound).unwrap());
        assert!(enter(&bound).is_none());
        // Down and up again while all are taken: nothing is owed in the end.
        bound.resize(1);
        bound.resize(4);
        taken.extend([enter(&bound).unwrap(), enter(&bound).unwrap()]);
        assert!(enter(&bound).is_none());
        assert!(bound.emptied().now_or_never().is_none());
        taken.clear();
        bound.emptied().await;
        assert_eq!((0..5).filter_map(|_| enter(&bound)).map(|p| taken.push(p)).count(), 4);
    }

    #[tokio::test]
    async fn whoever_waits_gets_in_when_the_bound_grows() {
        let bound = Bound::new(1);
        let first = enter(&bound).unwrap();
        let (second, ()) = tokio::join!(bound.enter(), async { bound.resize(2) });
        drop((first, second));
        assert_eq!(bound.max(), 2);
    }
}
