//! The leases of gateways and services: who may route by which version, and until when. Pure.
//!
//! Invariants: control counts a lease for longer than its holder does (from the receipt of a request that
//! was sent before, and with a margin); a late or repeated request never takes an acknowledgement back and
//! never invents one; a version that control has not published acknowledges nothing.

use banyan_core::BucketSet;
use banyan_core::protocol::exposure::Answers;
use banyan_core::protocol::lease::{LeaseKind, LeaseRequest};
use banyan_runtime::clock::Boot;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The longest name of a holder, in bytes.
const HOLDER_BYTES_MAX: usize = 200;

/// All leases.
#[derive(Clone, Debug)]
pub struct Leases {
    terms: LeaseTerms,
    holders: BTreeMap<String, Lease>,
    known: BTreeSet<String>,
}

/// How leases are granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTerms {
    /// How long a lease lasts for its holder.
    pub lease: Duration,
    /// How much longer it counts here.
    pub margin: Duration,
    /// The most holders.
    pub holders_max: usize,
}

#[derive(Clone, Debug)]
struct Lease {
    kind: LeaseKind,
    heard: Boot,
    until: Boot,
    seen_version: u64,
    undrained: BTreeMap<String, BucketSet>,
    answers: BTreeMap<String, Answers>,
    degraded: BTreeMap<String, u64>,
}

/// Why a lease is not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There are too many holders.
    TooMany,
    /// The holder has no name, or one that is too long.
    Name,
}

/// What the coordinator of one capability sees of the leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseView {
    /// The version by which every gateway with an unexpired lease routes; `u64::MAX` without gateways.
    pub acknowledged: u64,
    /// The gateway that acknowledged it, where there is one.
    pub slowest: Option<String>,
    /// A gateway that has missed its renewal; its lease has not expired yet.
    pub silent: Option<String>,
    /// Buckets of the capability with a write in flight from before the acknowledged version.
    pub undrained: BucketSet,
    /// Whether a lease of the capability's service counts.
    pub serving: bool,
    /// What gateways have acknowledged for a service that is given up, with their newest versions.
    pub answers: Vec<Answers>,
    /// A gateway that has not said so with its newest version.
    pub unanswered: Option<String>,
    /// Records of gateways that were there, have not given their lease back, and have none.
    pub gone: Vec<String>,
    /// Writes that were acknowledged though the monolith had not committed them in time.
    pub degraded: u64,
}

impl Default for LeaseView {
    fn default() -> Self {
        Self {
            acknowledged: u64::MAX,
            slowest: None,
            silent: None,
            undrained: BucketSet::empty(),
            serving: false,
            answers: Vec::new(),
            unanswered: None,
            gone: Vec::new(),
            degraded: 0,
        }
    }
}

impl Leases {
    /// No leases. `known` are the records of gateways that were there before the start.
    pub fn new(terms: LeaseTerms, known: BTreeSet<String>) -> Self {
        Self { terms, holders: BTreeMap::new(), known }
    }

    /// Takes or renews a lease at the receipt of its request; `published` is the newest version that a
    /// holder can have seen.
    ///
    /// # Errors
    /// The holder gets no lease.
    pub fn renew(&mut self, request: &LeaseRequest, published: u64, now: Boot) -> Result<(), Refused> {
        if request.holder.is_empty() || request.holder.len() > HOLDER_BYTES_MAX {
            return Err(Refused::Name);
        }
        self.expire(now);
        if !self.holders.contains_key(&request.holder) && self.holders.len() >= self.terms.holders_max {
            return Err(Refused::TooMany);
        }
        let seen_version = if request.seen_version <= published { request.seen_version } else { 0 };
        let lease = self.holders.entry(request.holder.clone()).or_insert_with(|| Lease {
            kind: request.kind.clone(),
            heard: now,
            until: now,
            seen_version,
            undrained: BTreeMap::new(),
            answers: BTreeMap::new(),
            degraded: BTreeMap::new(),
        });
        if request.kind == LeaseKind::Gateway {
            self.known.insert(record_of(&request.holder).to_owned());
        }
        lease.heard = now;
        lease.until = now.plus(self.terms.lease + self.terms.margin);
        if seen_version >= lease.seen_version {
            lease.seen_version = seen_version;
            lease.undrained.clone_from(&request.undrained);
            lease.answers.clone_from(&request.answers);
            lease.degraded.clone_from(&request.degraded);
        }
        Ok(())
    }

    /// Whether a gateway with this record has been seen.
    pub fn knows(&self, record: &str) -> bool {
        self.known.contains(record)
    }

    /// Ends a lease that its holder gives back.
    pub fn give_back(&mut self, holder: &str) {
        self.holders.remove(holder);
        self.known.remove(record_of(holder));
    }

    fn gone(&self) -> Vec<String> {
        let gateways = self.holders.iter().filter(|(_, lease)| lease.kind == LeaseKind::Gateway);
        let there: BTreeSet<&str> = gateways.map(|(holder, _)| record_of(holder)).collect();
        self.known.iter().filter(|record| !there.contains(record.as_str())).cloned().collect()
    }

    /// What the coordinator of a capability sees.
    pub fn view(&mut self, capability: &str, now: Boot) -> LeaseView {
        self.expire(now);
        let serves =
            |lease: &Lease| matches!(&lease.kind, LeaseKind::Service { capability: of } if of == capability);
        let mut view = LeaseView {
            serving: self.holders.values().any(serves),
            gone: self.gone(),
            ..LeaseView::default()
        };
        for (holder, lease) in self.holders.iter().filter(|(_, l)| l.kind == LeaseKind::Gateway) {
            if lease.seen_version < view.acknowledged {
                view.acknowledged = lease.seen_version;
                view.slowest = Some(holder.clone());
            }
            // A healthy gateway is heard of every third of a lease.
            if now.since(lease.heard) > self.terms.lease * 2 / 3 {
                view.silent = Some(holder.clone());
            }
            if let Some(undrained) = lease.undrained.get(capability) {
                view.undrained = view.undrained.union(undrained);
            }
            match lease.answers.get(capability) {
                Some(answers) => view.answers.push(answers.clone()),
                None => view.unanswered = Some(holder.clone()),
            }
            view.degraded += lease.degraded.get(capability).copied().unwrap_or_default();
        }
        view
    }

    /// When the next lease expires.
    pub fn next_expiry(&self) -> Option<Boot> {
        self.holders.values().map(|lease| lease.until).min()
    }

    /// How many gateways and services hold a lease.
    pub fn count(&mut self, now: Boot) -> (usize, usize) {
        self.expire(now);
        let gateways = self.holders.values().filter(|l| l.kind == LeaseKind::Gateway).count();
        (gateways, self.holders.len() - gateways)
    }

    fn expire(&mut self, now: Boot) {
        self.holders.retain(|_, lease| lease.until > now);
    }
}

/// Which record of acknowledged writes a gateway keeps: the name of its holder up to the first dot. It stays
/// the same when the gateway is started anew.
pub fn record_of(holder: &str) -> &str {
    holder.split('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_core::Bucket;

    fn leases() -> Leases {
        Leases::new(
            LeaseTerms {
                lease: Duration::from_millis(3000),
                margin: Duration::from_millis(300),
                holders_max: 2,
            },
            BTreeSet::new(),
        )
    }

    fn at(ms: u64) -> Boot {
        Boot::from_ms(ms)
    }

    fn request(holder: &str, seen_version: u64, undrained: &[u16]) -> LeaseRequest {
        let buckets: BucketSet = undrained.iter().map(|n| Bucket::try_from(*n).unwrap()).collect();
        LeaseRequest {
            holder: holder.into(),
            kind: LeaseKind::Gateway,
            seen_version,
            undrained: BTreeMap::from([("mail".into(), buckets)]),
            wait_ms: 0,
            answers: BTreeMap::new(),
            degraded: BTreeMap::new(),
        }
    }

    #[test]
    fn the_slowest_gateway_with_a_lease_decides() {
        let mut leases = leases();
        assert_eq!(leases.view("mail", at(0)), LeaseView::default());
        leases.renew(&request("a", 7, &[1]), 9, at(0)).unwrap();
        leases.renew(&request("b", 5, &[2]), 9, at(1000)).unwrap();
        let view = leases.view("mail", at(1000));
        assert_eq!((view.acknowledged, view.slowest.as_deref()), (5, Some("b")));
        assert_eq!(view.undrained.to_string(), "1-2");
        assert!(leases.view("other", at(1000)).undrained.is_empty());
        assert_eq!(leases.view("mail", at(3299)).acknowledged, 5);
        let gone = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(leases.view("mail", at(4300)), LeaseView { gone, ..LeaseView::default() });
    }

    #[test]
    fn a_lease_counts_longer_here_than_at_its_holder() {
        let mut leases = leases();
        leases.renew(&request("a", 7, &[]), 9, at(0)).unwrap();
        assert_eq!(leases.next_expiry(), Some(at(3300)));
        assert_eq!(leases.view("mail", at(3299)).slowest.as_deref(), Some("a"));
        assert_eq!(leases.view("mail", at(3300)).slowest, None);
    }

    #[test]
    fn a_late_request_takes_no_acknowledgement_back() {
        let mut leases = leases();
        leases.renew(&request("a", 7, &[]), 9, at(0)).unwrap();
        leases.renew(&request("a", 6, &[4]), 9, at(1)).unwrap();
        let view = leases.view("mail", at(1));
        assert_eq!((view.acknowledged, view.undrained.is_empty()), (7, true));
    }

    #[test]
    fn a_version_from_nowhere_acknowledges_nothing() {
        let mut leases = leases();
        leases.renew(&request("a", 10, &[]), 9, at(0)).unwrap();
        assert_eq!(leases.view("mail", at(0)).acknowledged, 0);
    }

    #[test]
    fn a_gateway_that_misses_its_renewal_is_named() {
        let mut leases = leases();
        leases.renew(&request("a", 7, &[]), 9, at(0)).unwrap();
        assert_eq!(leases.view("mail", at(2000)).silent, None);
        assert_eq!(leases.view("mail", at(2001)).silent.as_deref(), Some("a"));
    }

    #[test]
    fn services_acknowledge_nothing() {
        let mut leases = leases();
        let kind = LeaseKind::Service { capability: "mail".into() };
        leases.renew(&LeaseRequest { kind, ..request("s", 0, &[1]) }, 9, at(0)).unwrap();
        assert_eq!(leases.view("mail", at(0)), LeaseView { serving: true, ..LeaseView::default() });
        assert_eq!(leases.count(at(0)), (0, 1));
        assert!(!leases.view("other", at(0)).serving && !leases.view("mail", at(3300)).serving);
    }

    #[test]
    fn a_gateway_is_gone_until_its_record_is_there_again() {
        let mut leases = leases();
        leases.renew(&request("r1.a", 7, &[]), 9, at(0)).unwrap();
        assert_eq!(leases.view("mail", at(1)).gone, Vec::<String>::new());
        assert_eq!(leases.view("mail", at(4000)).gone, ["r1"]);
        leases.renew(&request("r1.b", 7, &[]), 9, at(4000)).unwrap();
        assert_eq!(leases.view("mail", at(4000)).gone, Vec::<String>::new());
        leases.give_back("r1.b");
        assert_eq!(leases.view("mail", at(4000)).gone, Vec::<String>::new());
    }

    #[test]
    fn holders_are_bounded_and_named() {
        let mut leases = leases();
        leases.renew(&request("a", 1, &[]), 9, at(0)).unwrap();
        leases.renew(&request("b", 1, &[]), 9, at(0)).unwrap();
        assert_eq!(leases.renew(&request("c", 1, &[]), 9, at(0)), Err(Refused::TooMany));
        leases.give_back("b");
        assert_eq!(leases.renew(&request("c", 1, &[]), 9, at(0)), Ok(()));
        assert_eq!(leases.renew(&request("", 1, &[]), 9, at(0)), Err(Refused::Name));
    }
}
