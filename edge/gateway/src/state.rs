//! The gateway's decisions on capability requests: admit, hold, release, refuse. Pure: no I/O, no clock, no
//! task; the shell (`ownership.rs`) calls [`State::step`] under one lock that all workers share, and the tests
//! call the same function under random schedules.
//!
//! Invariants:
//! 1. Without a valid lease nothing is admitted.
//! 2. A write is admitted only to the owner of a steady bucket, in the owner's epoch.
//! 3. A version is reported as seen together with every moving bucket that still has a write of an earlier
//!    version in flight; since the state is one, it is the version by which all new requests are routed.
//! 4. A hold is bounded in number, bytes and time, and ends exactly once.

use banyan_core::ownership::BucketTable;
use banyan_core::{Bucket, BucketSet, Holding, OwnerEpoch, Side};
use banyan_runtime::clock::Boot;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::route::CapabilityIndex;

/// The bounds of holds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long one write is held.
    pub hold_max: Duration,
    /// How many are held at the same time.
    pub requests_max: usize,
    /// How many bytes their bodies have together.
    pub bytes_max: usize,
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Goes to the owner in every phase.
    Read,
    /// Goes to the owner of a steady bucket, and is held otherwise.
    Write,
}

/// A request that wants to go on.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// The capability.
    pub capability: CapabilityIndex,
    /// The subject's bucket.
    pub bucket: Bucket,
    /// What it does.
    pub access: Access,
    /// The bytes it occupies while it is held.
    pub bytes: usize,
    /// A write goes on only by a version above this one: where a service has refused an older. Else 0.
    pub above: u64,
}

/// A lease, as control granted it.
#[derive(Clone, Debug)]
pub struct Grant {
    /// When it ends.
    pub until: Boot,
    /// The table's version.
    pub version: u64,
    /// By capability, where the version is new; `None` in it for a capability that control does not know.
    pub tables: Option<Vec<Option<BucketTable>>>,
}

/// What happens to the state.
#[derive(Clone, Debug)]
pub enum Input {
    /// A request asks; exactly one of `Admitted`, `Held`, `Refused` follows.
    Admit(Ask),
    /// Control granted a lease.
    Granted(Grant),
    /// The whole answer of an admitted write has been received, or its exchange has failed.
    Finished(WriteId),
    /// A held request has gone away.
    Left(HeldId),
    /// Time has passed.
    Tick,
}

/// What the shell does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    /// The request goes on.
    Admitted(Admission),
    /// The request waits, at most until that instant.
    Held(HeldId, Boot),
    /// The request is refused.
    Refused(Refusal),
    /// A held request goes on.
    Released(HeldId, Admission, Duration),
    /// A held request is refused: its time is up.
    Expired(HeldId),
    /// A write for which a freeze had to wait has ended; how long it took.
    Drained(Duration),
}

/// By what a request is routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Where to.
    pub side: Side,
    /// The owner's epoch.
    pub owner_epoch: OwnerEpoch,
    /// The version of the table.
    pub version: u64,
    /// For a write: to be reported as finished.
    pub write: Option<WriteId>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no valid lease, or no table of the capability in it.
    NoLease,
    /// A bound of the holds is reached.
    HoldLimit,
}

/// An admitted write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(u64);

/// A held request. Ids grow in the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeldId(u64);

#[derive(Clone, Copy, Debug)]
struct InFlight {
    capability: CapabilityIndex,
    bucket: Bucket,
    since: Boot,
    /// Whether a freeze of its bucket came while it was in flight.
    awaited: bool,
}

#[derive(Clone, Copy, Debug)]
struct HeldWrite {
    ask: Ask,
    since: Boot,
    until: Boot,
}

/// What the gateway tells control about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The version by which all new requests are routed.
    pub seen_version: u64,
    /// By capability: moving buckets with a write of an earlier version in flight.
    pub undrained: BTreeMap<CapabilityIndex, BucketSet>,
}

/// The state.
#[derive(Debug)]
pub struct State {
    limits: Limits,
    lease_until: Option<Boot>,
    version: u64,
    tables: Vec<Option<BucketTable>>,
    in_flight: HashMap<WriteId, InFlight>,
    held: BTreeMap<HeldId, HeldWrite>,
    held_bytes: usize,
    next_id: u64,
}

impl State {
    /// No lease, no table, nothing in flight.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            lease_until: None,
            version: 0,
            tables: Vec::new(),
            in_flight: HashMap::new(),
            held: BTreeMap::new(),
            held_bytes: 0,
            next_id: 1,
        }
    }

    /// Other bounds for holds that begin from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The next state, in place, and what the shell has to do, in this order.
    pub fn step(&mut self, now: Boot, input: Input) -> Vec<Effect> {
        match input {
            Input::Admit(ask) => vec![self.admit(now, ask)],
            Input::Granted(grant) => self.granted(now, grant),
            Input::Finished(write) => self.finished(now, write),
            Input::Left(held) => {
                self.end_hold(held);
                Vec::new()
            }
            Input::Tick => self.tick(now),
        }
    }

    /// Whether the lease is valid.
    pub fn is_leased(&self, now: Boot) -> bool {
        self.lease_until.is_some_and(|until| now < until)
    }

    /// What to tell control: one consistent view.
    pub fn report(&self) -> Report {
        let mut undrained: BTreeMap<CapabilityIndex, BucketSet> = BTreeMap::new();
        for write in self.in_flight.values() {
            if self.holding(write.capability, write.bucket).is_some_and(|h| h.phase.holds_writes()) {
                undrained.entry(write.capability).or_insert_with(BucketSet::empty).insert(write.bucket);
            }
        }
        Report { seen_version: self.version, undrained }
    }

    /// How many requests are held.
    pub fn held_count(&self) -> usize {
        self.held.len()
    }

    fn holding(&self, capability: CapabilityIndex, bucket: Bucket) -> Option<Holding> {
        Some(self.tables.get(capability.0)?.as_ref()?.get(bucket))
    }

    fn admit(&mut self, now: Boot, ask: Ask) -> Effect {
        if !self.is_leased(now) {
            return Effect::Refused(Refusal::NoLease);
        }
        let Some(holding) = self.holding(ask.capability, ask.bucket) else {
            return Effect::Refused(Refusal::NoLease);
        };
        if self.must_wait(&ask, holding) {
            self.hold(now, ask)
        } else {
            Effect::Admitted(self.send(now, &ask, holding))
        }
    }

    fn must_wait(&self, ask: &Ask, holding: Holding) -> bool {
        ask.access == Access::Write && (holding.phase.holds_writes() || self.version <= ask.above)
    }

    fn send(&mut self, now: Boot, ask: &Ask, holding: Holding) -> Admission {
        let write = (ask.access == Access::Write).then(|| WriteId(self.fresh_id()));
        if let Some(write) = write {
            let (capability, bucket) = (ask.capability, ask.bucket);
            self.in_flight.insert(write, InFlight { capability, bucket, since: now, awaited: false });
        }
        let Holding { owner, owner_epoch, .. } = holding;
        Admission { side: owner, owner_epoch, version: self.version, write }
    }

    fn hold(&mut self, now: Boot, ask: Ask) -> Effect {
        let full = self.held.len() >= self.limits.requests_max
            || ask.bytes > self.limits.bytes_max.saturating_sub(self.held_bytes);
        if full {
            return Effect::Refused(Refusal::HoldLimit);
        }
        let held = HeldId(self.fresh_id());
        let until = now.plus(self.limits.hold_max);
        self.held.insert(held, HeldWrite { ask, since: now, until });
        self.held_bytes += ask.bytes;
        Effect::Held(held, until)
    }

    fn end_hold(&mut self, held: HeldId) -> Option<HeldWrite> {
        let write = self.held.remove(&held)?;
        self.held_bytes -= write.ask.bytes;
        Some(write)
    }

    fn granted(&mut self, now: Boot, grant: Grant) -> Vec<Effect> {
        // Answers may overtake each other: neither lease nor version goes back.
        self.lease_until = self.lease_until.max(Some(grant.until));
        if let Some(tables) = grant.tables
            && grant.version > self.version
        {
            self.version = grant.version;
            self.tables = tables;
            self.await_frozen();
        }
        self.release(now)
    }

    /// Marks the writes in flight whose bucket has just stopped being steady.
    fn await_frozen(&mut self) {
        let tables = &self.tables;
        for write in self.in_flight.values_mut() {
            let table = tables.get(write.capability.0).and_then(Option::as_ref);
            write.awaited |= table.is_some_and(|t| t.get(write.bucket).phase.holds_writes());
        }
    }

    fn release(&mut self, now: Boot) -> Vec<Effect> {
        if !self.is_leased(now) {
            return Vec::new();
        }
        let ready: Vec<(HeldId, Holding)> = self
            .held
            .iter()
            .filter_map(|(id, write)| {
                let holding = self.holding(write.ask.capability, write.ask.bucket)?;
                (!self.must_wait(&write.ask, holding)).then_some((*id, holding))
            })
            .collect();
        let mut effects = Vec::with_capacity(ready.len());
        for (id, holding) in ready {
            if let Some(write) = self.end_hold(id) {
                let admission = self.send(now, &write.ask, holding);
                effects.push(Effect::Released(id, admission, now.since(write.since)));
            }
        }
        effects
    }

    fn finished(&mut self, now: Boot, write: WriteId) -> Vec<Effect> {
        match self.in_flight.remove(&write) {
            Some(write) if write.awaited => vec![Effect::Drained(now.since(write.since))],
            _ => Vec::new(),
        }
    }

    fn tick(&mut self, now: Boot) -> Vec<Effect> {
        let due: Vec<HeldId> = self.held.iter().filter(|(_, w)| w.until <= now).map(|(id, _)| *id).collect();
        due.into_iter().filter_map(|id| self.end_hold(id).map(|_| Effect::Expired(id))).collect()
    }

    fn fresh_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
