//! The lease without which a service writes nothing that it owns.
//!
//! A service starts without one. The lease is measured on the boot-time clock from before its renewal was
//! sent, so that a machine that slept wakes up with its leases expired.

use banyan_runtime::clock::Boot;
use std::sync::{Arc, Mutex, PoisonError};

/// The lease; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Lease(Arc<Mutex<Option<Boot>>>);

impl Lease {
    /// No lease yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A grant that lasts until then; one that ends earlier than the present one changes nothing.
    pub fn extend(&self, until: Boot) {
        let mut end = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *end = Some(end.map_or(until, |present| present.max(until)));
    }

    /// Gives the lease up.
    pub fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether it is valid at that instant.
    pub fn is_valid(&self, now: Boot) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_ends_at_its_instant_and_never_shrinks() {
        let (lease, at) = (Lease::new(), Boot::from_ms);
        assert!(!lease.is_valid(at(0)));
        lease.extend(at(100));
        lease.extend(at(50));
        assert!(lease.is_valid(at(99)) && !lease.is_valid(at(100)));
        lease.clone().end();
        assert!(!lease.is_valid(at(0)));
    }
}
