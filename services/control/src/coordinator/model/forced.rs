//! Forced rollbacks under random schedules: a service with a lease, that dies, loses its database and comes
//! back, and an operator who goes back without it and admits it again.
//!
//! Held beside everything else: a side without a lease does not write; what the monolith lacks of the
//! acknowledged writes when it takes over is on the journalled list; a service that comes back changes nothing
//! before it is admitted.

use super::choices;
use super::schedule::{LEASE, Run, SHARES};
use super::world::{Log, Out, World};
use crate::coordinator::durable::{Durable, Progress};
use crate::coordinator::effect::{Answer, Call, WishId};
use crate::coordinator::forced::plant::{self, Plant};
use crate::coordinator::wish::Action;
use banyan_core::protocol::exposure::{CutOff, ExposureSource, ReverseCut, Reversed};
use banyan_core::protocol::lease::{LeaseKind, LeaseRequest};
use banyan_core::protocol::monolith::{SyncStatus, VerifyReport};
use banyan_core::row::FenceOwner;
use banyan_core::{Bucket, OwnerEpoch, Side};
use banyan_runtime::clock::Boot;
use std::collections::{BTreeMap, BTreeSet};

/// The service's process and lease, and what went with them.
#[derive(Default)]
pub struct Lost {
    /// Whether it needs a lease in this run.
    managed: bool,
    leased: bool,
    until: u64,
    requests: Vec<u64>,
    /// Whether it answers nobody.
    pub is_down: bool,
    incarnation: u32,
    held_incarnation: u32,
    needs_copy: bool,
    term: OwnerEpoch,
    /// Acknowledged writes of the service, by bucket.
    pub answered: BTreeMap<u64, Bucket>,
    /// Writes that a forced rollback has said the monolith lacks.
    pub exposed: BTreeSet<u64>,
    /// Forced attempts that flipped, and writes that they exposed.
    pub flips: u32,
    /// Admissions.
    pub admissions: u32,
}

impl Lost {
    pub fn is_leased(&self) -> bool {
        !self.managed || self.leased && !self.is_down
    }

    /// Whether a side may refuse writes: a service that may be down.
    pub fn may_refuse(&self, side: Side) -> bool {
        self.managed && side == Side::Service
    }

    /// Whether a write may be where it is: it was exposed, and the monolith has it once at most.
    pub fn is_exposed(&self, write: u64, counts: (Option<&u32>, Option<&u32>)) -> bool {
        self.exposed.contains(&write) && counts.0.is_none() && counts.1.is_none_or(|n| *n == 1)
    }
}

impl World {
    /// The place behind the newest event of the outbox.
    pub fn head(&self) -> Reversed {
        let position = self.service.outbox.len() as u64;
        Reversed { incarnation: self.lost.incarnation.to_string(), position }
    }

    /// What a service that is down, or not whole, makes of a call.
    pub fn answer_of_lost(&self, call: &Call) -> Option<Answer> {
        let lost = &self.lost;
        let down = || Some(Answer::Failed("the service does not answer".into()));
        match call {
            Call::Ownership | Call::Open(_) | Call::Close(_) | Call::Verify if lost.is_down => down(),
            Call::Open(_) if lost.needs_copy => {
                Some(Answer::Failed("the service's database has no rows of the monolith".into()))
            }
            Call::Ownership => match self.service.ownership() {
                own if lost.is_leased() => Some(Answer::Ownership(own)),
                own => Some(Answer::Ownership(banyan_core::protocol::target::TargetOwnership {
                    leased: false,
                    ..own
                })),
            },
            _ => None,
        }
    }

    /// How the streams are.
    pub fn status(&self) -> Answer {
        let lost = &self.lost;
        let live = !lost.is_down && lost.incarnation == lost.held_incarnation;
        Answer::Status(Box::new(SyncStatus {
            forward_live: live,
            reverse_live: live,
            copied: !lost.needs_copy,
            dead_letter_buckets: self.letters.iter().map(|(_, bucket)| *bucket).collect(),
            ..super::world::healthy()
        }))
    }

    /// A write was done and nobody told.
    pub fn is_unanswered(&mut self, write: u64) {
        if self.lost.managed {
            self.lost.answered.remove(&write);
            self.lost.exposed.insert(write);
        }
    }

    /// Sync fences reverse and says what it has not written.
    pub fn cut(&mut self, cut: &ReverseCut) -> Answer {
        self.lost.term = self.lost.term.max(cut.owner_epoch);
        let reversed =
            Reversed { incarnation: self.lost.held_incarnation.to_string(), position: self.reverse as u64 };
        let readable = !self.lost.is_down && self.lost.incarnation == self.lost.held_incarnation;
        let outbox = readable.then(|| {
            let mut counts: BTreeMap<Bucket, u64> = BTreeMap::new();
            for event in &self.service.outbox[self.reverse..] {
                if let Out::Row(_, bucket) = event {
                    *counts.entry(*bucket).or_default() += 1;
                }
            }
            counts.into_iter().filter(|(bucket, _)| cut.buckets.contains(*bucket)).collect()
        });
        Answer::Cut(CutOff { reversed, outbox, intents: Vec::new() })
    }

    /// Rows that differ for another reason than the lag.
    pub fn compare(&self) -> Answer {
        Answer::Verified(VerifyReport { mismatches: self.differing(), ..VerifyReport::default() })
    }

    fn differing(&self) -> u64 {
        let late: BTreeSet<u64> = self.monolith.binlog[self.forward..]
            .iter()
            .filter_map(|log| if let Log::Row(write, _) = log { Some(*write) } else { None })
            .collect();
        let (ours, theirs) = (&self.monolith.rows, &self.service.rows);
        let all: BTreeSet<u64> = ours.keys().chain(theirs.keys()).copied().collect();
        all.into_iter().filter(|w| ours.get(w) != theirs.get(w) && !late.contains(w)).count() as u64
    }

    fn is_all_monolith(&self) -> bool {
        self.monolith.fence.values().all(|(owner, _)| *owner == FenceOwner::Monolith)
    }

    /// A service without its rows gets them copied once the monolith owns everything, and hears of the fence
    /// as it is.
    pub fn is_without_rows(&mut self) -> bool {
        if self.lost.needs_copy && !self.lost.is_down && self.is_all_monolith() {
            self.service.rows.clone_from(&self.monolith.rows);
            self.forward = self.monolith.binlog.len();
            self.service.learn_fence(&self.monolith.fence);
            self.lost.needs_copy = false;
        }
        self.lost.needs_copy
    }

    /// Whether reverse does not write its next event: it waits for a forced rollback, or keeps the event as a
    /// conflict.
    pub fn waits_or_conflicts(&mut self) -> bool {
        if self.lost.incarnation != self.lost.held_incarnation {
            if self.is_all_monolith() {
                self.lost.held_incarnation = self.lost.incarnation;
                self.reverse = 0;
            }
            return true;
        }
        let Some(Out::Row(_, bucket)) = self.service.outbox.get(self.reverse) else { return false };
        match self.monolith.fence(*bucket) {
            (FenceOwner::Moving, epoch) => epoch <= self.lost.term,
            (FenceOwner::Monolith, _) => {
                self.reverse += 1;
                true
            }
            (FenceOwner::Service, _) => false,
        }
    }

    /// The service's process ends, perhaps with its database.
    fn kill_service(&mut self, database: bool) {
        self.lost.is_down = true;
        (self.lost.until, self.lost.leased) = (0, false);
        if database {
            self.service = Default::default();
            self.letters.clear();
            self.lost.incarnation += 1;
            self.lost.needs_copy = true;
        }
    }

    /// What a forced attempt says when it flips: every acknowledged write that the monolith lacks.
    pub fn check_exposure(&mut self, before: &Durable, next: &Durable) {
        let opening =
            |d: &Durable| d.attempt.as_ref().is_some_and(|a| a.forced && a.progress == Progress::Opening);
        self.lost.admissions += u32::from(before.cut.is_some() && next.cut.is_none());
        if opening(before) || !opening(next) {
            return;
        }
        self.lost.flips += 1;
        let Some(attempt) = &next.attempt else { return };
        let exposure = attempt.exposure.clone().unwrap_or_default();
        let listed: BTreeSet<u64> =
            exposure.writes.iter().filter_map(|w| w.reference.as_ref()?.parse().ok()).collect();
        let missing: Vec<(u64, Bucket)> = self.lost.answered.iter().map(|(w, b)| (*w, *b)).collect();
        for (write, bucket) in missing {
            let is_there = self.monolith.rows.contains_key(&write) || self.lost.exposed.contains(&write);
            if is_there || !attempt.buckets.contains(bucket) {
                continue;
            }
            let counted = exposure.by_bucket.get(&bucket).is_some_and(|of| of.writes > 0);
            let told = match exposure.source {
                ExposureSource::Outbox => counted,
                ExposureSource::Gateways => {
                    listed.contains(&write) && counted || !exposure.unheard.is_empty()
                }
            };
            if !told {
                self.violate(format!("exposure of write {write} is hidden"));
            }
            self.lost.exposed.insert(write);
        }
    }
}

impl Run {
    /// A run whose service needs a lease.
    fn with_leases(gateways: usize) -> Self {
        let mut run = Self::new(gateways, None);
        run.world.lost.managed = true;
        run
    }

    /// One thing happens, to the service or around it.
    fn act_forced(&mut self, choice: u32) {
        let (kind, nth) = (choice % 24, choice / 24);
        match kind {
            0 | 1 => self.renew_service(),
            2 if !self.world.lost.is_down => self.world.lost.requests.push(self.now),
            3 => self.grant_service(nth as usize),
            4 if nth.is_multiple_of(12) => {
                self.world.kill_service(nth.is_multiple_of(24));
                self.lose_calls_to_service();
            }
            5 | 6 if nth.is_multiple_of(3) => self.world.lost.is_down = false,
            7 if nth.is_multiple_of(5) => self.ask(Action::Force),
            _ => self.act(nth),
        }
        self.check_barred();
    }

    /// The service's lease ends for itself.
    pub fn expire_service(&mut self) {
        self.world.lost.leased = self.now < self.world.lost.until;
    }

    /// A renewal comes and goes.
    pub fn renew_service(&mut self) {
        if self.world.lost.managed && !self.world.lost.is_down {
            self.world.lost.requests.push(self.now);
            self.grant_service(usize::MAX);
        }
    }

    /// Control receives a renewal, perhaps a late one, and grants it where the service is not given up.
    fn grant_service(&mut self, nth: usize) {
        let requests = &mut self.world.lost.requests;
        if requests.is_empty() {
            return;
        }
        let sent = requests.remove(nth.min(requests.len() - 1));
        if self.journal.durable.is_barred() {
            return;
        }
        let request = LeaseRequest {
            holder: "service".into(),
            kind: LeaseKind::Service { capability: "mail".into() },
            seen_version: 0,
            undrained: BTreeMap::new(),
            wait_ms: 0,
            answers: BTreeMap::new(),
            degraded: BTreeMap::new(),
        };
        let newest = self.nodes.len() - 1;
        let (version, now) = (self.journal.version, Boot::from_ms(self.now));
        self.nodes[newest].leases.renew(&request, version, now).expect("there are few holders");
        if !self.world.lost.is_down {
            let until = sent + LEASE.as_millis() as u64;
            self.world.lost.until = self.world.lost.until.max(until);
            self.expire_service();
        }
    }

    /// While a forced rollback takes buckets back, the service must not have a lease.
    fn check_barred(&mut self) {
        let frozen = self.journal.durable.attempt.as_ref().is_some_and(|attempt| attempt.forced);
        if frozen && self.world.lost.leased {
            self.world.violate("the service has a lease during a forced rollback".into());
        }
    }

    fn ask(&mut self, action: Action) {
        self.wishes += 1;
        let wish = crate::coordinator::wish::Wish { action, by: "ann".into(), reason: "it is gone".into() };
        let newest = self.nodes.len() - 1;
        self.input(newest, crate::coordinator::effect::Input::Wish(WishId(self.wishes), wish));
    }

    /// The operator goes back without a service that has lost its database, and gives one that differs an
    /// empty one.
    pub fn rebuild_service(&mut self) {
        let lost = &self.world.lost;
        let other = lost.needs_copy || lost.incarnation != lost.held_incarnation;
        if other && !self.world.is_all_monolith() && !self.journal.durable.is_forced() {
            self.ask(Action::Force);
        }
        let lost = &self.world.lost;
        let asked = self.journal.durable.awaits_admission() && lost.managed && !lost.needs_copy;
        if asked && self.world.is_all_monolith() && self.world.differing() > 0 {
            self.world.kill_service(true);
            self.lose_calls_to_service();
        }
        self.world.lost.is_down = false;
    }
}

fn run(gateways: usize, choices: impl IntoIterator<Item = u32>) -> (Vec<String>, (u32, usize, u32)) {
    let mut run = Run::with_leases(gateways);
    for choice in choices {
        run.act_forced(choice);
        if !run.violations().is_empty() {
            break;
        }
    }
    if run.violations().is_empty() {
        run.settle();
    }
    let lost = &run.world.lost;
    let seen = (lost.flips, lost.exposed.len(), lost.admissions);
    (run.violations().to_vec(), seen)
}

/// How many schedules a test tries; `bin/soak model` asks for more.
fn seeds() -> u64 {
    std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(60)
}

#[test]
fn schedules_reach_forced_rollbacks_with_exposure_and_admissions() {
    let (mut flips, mut exposed, mut admissions) = (0, 0, 0);
    for seed in 0..seeds() {
        let (violations, seen) = run(2, choices(seed).take(1500));
        assert!(violations.is_empty(), "seed {seed}: {violations:?}");
        flips += seen.0;
        exposed += seen.1;
        admissions += seen.2;
    }
    assert!(flips >= 20 && exposed >= 5 && admissions >= 20, "{flips} {exposed} {admissions}");
}

/// The violations of the first schedule that the planted bug breaks.
fn caught(planted: Plant) -> Vec<String> {
    plant::with(planted, || {
        (0..200)
            .map(|seed| run(2, choices(seed).take(1500)).0)
            .find(|found| !found.is_empty())
            .unwrap_or_default()
    })
}

#[test]
fn a_forced_rollback_that_hides_its_exposure_is_caught() {
    let found = caught(Plant::HideExposure);
    assert!(found.iter().any(|text| text.contains("is hidden")), "{found:?}");
}

#[test]
fn a_lease_that_is_renewed_during_a_forced_rollback_is_caught() {
    let found = caught(Plant::BarByWish);
    assert!(found.iter().any(|text| text.contains("has a lease during")), "{found:?}");
}

/// The run goes on well, one step of control after the other.
fn go_on(run: &mut Run, steps: usize) {
    for _ in 0..steps {
        run.commit(0);
        run.answer_call(0);
        run.renew(0);
        run.world.step_forward();
        run.world.step_reverse();
        run.pass(2);
    }
}

#[test]
fn a_service_that_is_given_up_and_wished_back_at_any_step_comes_back() {
    for (steps, between) in (0..45).flat_map(|steps| (0..3).map(move |between| (steps, between))) {
        let mut run = Run::with_leases(1);
        run.pass(3400);
        run.ask(Action::Force);
        go_on(&mut run, 4);
        run.ask(Action::Advance(Some(SHARES[1])));
        go_on(&mut run, steps);
        run.ask(Action::Force);
        go_on(&mut run, between);
        run.ask(Action::Advance(Some(SHARES[2])));
        run.settle();
        assert!(run.violations().is_empty(), "{steps}, {between}: {:?}", run.violations());
    }
}
