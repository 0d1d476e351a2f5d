//! Gateways with their leases, tables and writes in flight. Requests and grants travel separately, so each
//! may be late or lost.

use super::plants::Plant;
use super::world::{Arrival, World};
use crate::coordinator::durable::Durable;
use crate::lease::Leases;
use banyan_core::ownership::BucketTable;
use banyan_core::protocol::lease::{LeaseKind, LeaseRequest};
use banyan_core::{Bucket, BucketSet, OwnerEpoch, Side};
use banyan_runtime::clock::Boot;
use std::collections::BTreeMap;
use std::time::Duration;

/// All gateways, and the writes of those that are gone.
pub struct Fleet {
    gateways: Vec<Gateway>,
    writes: Vec<Write>,
    next_write: u64,
    names: u64,
    requests: Vec<(LeaseRequest, Boot)>,
    grants: Vec<Grant>,
    cut_off: Option<usize>,
    lease: Duration,
    plant: Option<Plant>,
}

struct Gateway {
    name: String,
    version: u64,
    table: BucketTable,
    until: Boot,
}

struct Grant {
    holder: String,
    sent: Boot,
    version: u64,
    table: BucketTable,
}

struct Write {
    id: u64,
    bucket: Bucket,
    side: Side,
    epoch: OwnerEpoch,
    gateway: String,
    /// It goes on when its bucket is released, to the side that owned it on arrival: a bug.
    held: bool,
    /// Its gateway has lost its lease or is gone: what becomes of it is nobody's fault.
    lost: bool,
}

impl Fleet {
    pub fn new(gateways: usize, lease: Duration, plant: Option<Plant>) -> Self {
        let mut fleet = Self {
            gateways: Vec::new(),
            writes: Vec::new(),
            next_write: 0,
            names: 0,
            requests: Vec::new(),
            grants: Vec::new(),
            cut_off: None,
            lease,
            plant,
        };
        (0..gateways).for_each(|_| {
            let fresh = fleet.fresh();
            fleet.gateways.push(fresh);
        });
        fleet
    }

    fn fresh(&mut self) -> Gateway {
        self.names += 1;
        let name = format!("g{}", self.names);
        Gateway { name, version: 0, table: BucketTable::default(), until: Boot::from_ms(0) }
    }

    pub fn len(&self) -> usize {
        self.gateways.len()
    }

    /// A gateway dies; another takes its place.
    pub fn restart(&mut self, nth: usize) {
        let fresh = self.fresh();
        let at = nth % self.gateways.len();
        let gone = std::mem::replace(&mut self.gateways[at], fresh);
        self.writes.iter_mut().filter(|w| w.gateway == gone.name).for_each(|w| w.lost = true);
    }

    /// Leases end for their holders.
    pub fn expire(&mut self, now: Boot) {
        for gateway in self.gateways.iter().filter(|g| g.until <= now) {
            self.writes.iter_mut().filter(|w| w.gateway == gateway.name).for_each(|w| w.lost = true);
        }
    }

    /// One gateway reaches control no more, or all do again.
    pub fn cut_off(&mut self, nth: Option<usize>) {
        self.cut_off = nth.map(|nth| nth % self.gateways.len());
    }

    /// A gateway sends a renewal.
    pub fn send_renewal(&mut self, nth: usize, now: Boot) {
        let at = nth % self.gateways.len();
        if self.cut_off == Some(at) {
            return;
        }
        let gateway = &self.gateways[at];
        let held = gateway.table.filter(|h| h.phase.holds_writes());
        let mine = self.writes.iter().filter(|w| w.gateway == gateway.name && !w.held).map(|w| w.bucket);
        let undrained: BucketSet = mine.filter(|b| held.contains(*b)).collect();
        let request = LeaseRequest {
            holder: gateway.name.clone(),
            kind: LeaseKind::Gateway,
            seen_version: gateway.version,
            undrained: BTreeMap::from([("mail".into(), undrained)]),
            wait_ms: 0,
        };
        self.requests.push((request, now));
    }

    /// Control receives a renewal and answers it.
    pub fn receive_renewal(&mut self, nth: usize, leases: &mut Leases, journal: (u64, &Durable, Boot)) {
        if self.requests.is_empty() {
            return;
        }
        let (request, sent) = self.requests.remove(nth % self.requests.len());
        let (version, durable, now) = journal;
        leases.renew(&request, version, now).expect("there are few holders");
        self.grants.push(Grant { holder: request.holder, sent, version, table: durable.table.clone() });
    }

    /// A gateway receives a grant.
    pub fn receive_grant(&mut self, nth: usize) {
        if self.grants.is_empty() {
            return;
        }
        let grant = self.grants.remove(nth % self.grants.len());
        if let Some(gateway) = self.gateways.iter_mut().find(|g| g.name == grant.holder) {
            gateway.until = gateway.until.max(grant.sent.plus(self.lease));
            if grant.version > gateway.version {
                (gateway.version, gateway.table) = (grant.version, grant.table);
            }
        }
    }

    /// A renewal or a grant is lost.
    pub fn lose_message(&mut self, nth: usize) {
        if nth.is_multiple_of(2) && !self.requests.is_empty() {
            self.requests.remove(nth % self.requests.len());
        } else if !self.grants.is_empty() {
            self.grants.remove(nth % self.grants.len());
        }
    }

    /// A client's write reaches a gateway, which sends it on if it may.
    pub fn admit(&mut self, nth: usize, bucket: Bucket, (now, world): (Boot, &mut World)) {
        let gateway = &self.gateways[nth % self.gateways.len()];
        let holding = gateway.table.get(bucket);
        let expired = gateway.until <= now && self.plant != Some(Plant::LeaseIgnored);
        let held = holding.phase.holds_writes();
        let goes_on = !held || self.plant == Some(Plant::HeldToOldOwner);
        if expired || gateway.version == 0 || !goes_on {
            return;
        }
        let stale = self
            .gateways
            .iter()
            .any(|g| g.until > now && g.version > 0 && g.table.get(bucket).owner != holding.owner);
        if stale {
            world.violate(format!("reads of bucket {bucket} go to one side, writes to the other"));
        }
        self.next_write += 1;
        self.writes.push(Write {
            id: self.next_write,
            bucket,
            side: holding.owner,
            epoch: holding.owner_epoch,
            gateway: gateway.name.clone(),
            held,
            lost: false,
        });
    }

    /// A write of the monolith itself, such as a cron job's.
    pub fn stray(&mut self, bucket: Bucket, world: &mut World) {
        self.next_write += 1;
        world.begin_at_monolith(self.next_write, bucket);
    }

    /// A write in flight arrives. What ends is answered.
    pub fn arrive(&mut self, nth: usize, world: &mut World, journal: &Durable) {
        if self.writes.is_empty() {
            return;
        }
        let at = nth % self.writes.len();
        let write = &self.writes[at];
        let holds = |g: &Gateway| g.name == write.gateway && g.table.get(write.bucket).phase.holds_writes();
        if write.held && self.gateways.iter().any(holds) {
            return;
        }
        if world.has_begun(write.id) {
            return;
        }
        let arrival = match write.side {
            Side::Monolith => world.begin_at_monolith(write.id, write.bucket),
            Side::Service => world.write_at_service((write.id, write.bucket), write.epoch, journal),
        };
        if arrival == Arrival::Refused && !write.lost {
            world.violate(format!("write {} of bucket {} was refused", write.id, write.bucket));
        }
        if matches!(arrival, Arrival::Done | Arrival::Refused) {
            self.writes.remove(at);
        }
    }

    /// A transaction of the monolith commits; whoever waits for it is answered.
    pub fn commit(&mut self, nth: usize, world: &mut World, journal: &Durable) {
        if let Some(write) = world.transaction(nth) {
            world.commit_at_monolith(write, journal);
            self.writes.retain(|w| w.id != write);
        }
    }

    /// Whether nothing is in flight.
    pub fn is_quiet(&self) -> bool {
        self.writes.is_empty()
    }
}
