//! What is out of order on purpose while requests are under way.

use std::sync::atomic::{AtomicBool, Ordering};

/// What is out of order now; shared by all customers.
#[derive(Debug, Default)]
pub struct Meanwhile {
    outage: AtomicBool,
    down: AtomicBool,
    crowded: AtomicBool,
}

/// What was out of order while a request was under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Excuses {
    /// The payment provider was out: payments may fail.
    pub outage: bool,
    /// A role was killed that requests need: they may fail, and never be answered wrongly.
    pub down: bool,
    /// A crowd was there when it was sent: the gateway may shed it.
    pub crowded: bool,
}

impl Meanwhile {
    /// Says whether the payment provider is out.
    pub fn set_outage(&self, out: bool) {
        self.outage.store(out, Ordering::SeqCst);
    }

    /// Says whether a role is down that requests need.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    pub(super) fn set_crowded(&self, crowded: bool) {
        self.crowded.store(crowded, Ordering::SeqCst);
    }

    /// What is out of order now.
    pub fn now(&self) -> Excuses {
        Excuses {
            outage: self.outage.load(Ordering::SeqCst),
            down: self.down.load(Ordering::SeqCst),
            crowded: self.crowded.load(Ordering::SeqCst),
        }
    }

    /// What was out of order from an earlier look until now.
    pub fn since(&self, before: Excuses) -> Excuses {
        let now = self.now();
        Excuses { outage: before.outage || now.outage, down: before.down || now.down, ..before }
    }
}
