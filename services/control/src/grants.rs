//! The leases as tasks share them, with news of their changes.

use crate::lease::{LeaseTerms, LeaseView, Leases, Refused};
use crate::metrics;
use banyan_core::protocol::lease::LeaseRequest;
use banyan_runtime::clock::Boot;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The leases; clones share them.
#[derive(Clone, Debug)]
pub struct Grants {
    leases: Arc<Mutex<Leases>>,
    changes: Arc<watch::Sender<u64>>,
}

impl Grants {
    /// No leases. `known` are the records of gateways that were there before the start.
    pub fn new(terms: LeaseTerms, known: BTreeSet<String>) -> Self {
        Self {
            leases: Arc::new(Mutex::new(Leases::new(terms, known))),
            changes: Arc::new(watch::channel(0).0),
        }
    }

    /// Takes or renews a lease now. Whoever reads the table afterwards may grant it.
    ///
    /// # Errors
    /// The holder gets no lease.
    pub fn renew(&self, request: &LeaseRequest, published: u64) -> Result<(), Refused> {
        self.lock().renew(request, published, Boot::now())?;
        self.tell();
        Ok(())
    }

    /// Whether a gateway with this record has been seen.
    pub fn knows(&self, record: &str) -> bool {
        self.lock().knows(record)
    }

    /// Ends a lease that its holder gives back.
    pub fn give_back(&self, holder: &str) {
        self.lock().give_back(holder);
        self.tell();
    }

    /// What the coordinator of a capability sees now, and when a lease expires next.
    pub fn view(&self, capability: &str) -> (LeaseView, Option<Boot>) {
        let mut leases = self.lock();
        (leases.view(capability, Boot::now()), leases.next_expiry())
    }

    /// News of changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn tell(&self) {
        metrics::leases(self.lock().count(Boot::now()));
        self.changes.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
