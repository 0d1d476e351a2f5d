//! A run: coordinators that crash, sleep and follow each other on one journal, a network that loses, delays
//! and repeats, and a number for each thing that happens next.

use super::fleet::Fleet;
use super::plants::Plant;
use super::world::World;
use crate::config::Config;
use crate::coordinator::durable::Durable;
use crate::coordinator::effect::{Answer, Call, Commit, Effect, EffectId, Input, Now, VersionChange, WishId};
use crate::coordinator::wish::{Action, Wish};
use crate::coordinator::{Coordinator, Stage, Start};
use crate::lease::{LeaseTerms, Leases};
use banyan_core::bucket::permutation;
use banyan_core::{Bucket, BucketSet, OwnerEpoch, Phase, Side};
use banyan_runtime::clock::Boot;
use std::time::Duration;

const SEED: u64 = 7;
const LEASE: Duration = Duration::from_millis(3000);
const MARGIN: Duration = Duration::from_millis(300);
/// Shares of no bucket, three, five and six.
const SHARES: [f64; 4] = [0.0, 0.06, 0.11, 0.14];
/// How many calls the network remembers, to repeat them or their answers.
const PACKETS_MAX: usize = 12;
/// How long a run may take to settle, in rounds of 20 ms.
const ROUNDS_MAX: usize = 1500;

/// What a run came across, so that a test can tell that it was somewhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub to_service: u32,
    pub to_monolith: u32,
    pub restored: u32,
    pub left: u32,
    pub deposed: u32,
    pub ended_by_successor: u32,
}

pub struct Run {
    now: u64,
    world: World,
    fleet: Fleet,
    journal: Journal,
    nodes: Vec<Node>,
    network: Vec<Packet>,
    buckets: Vec<Bucket>,
    wishes: u64,
    frozen_in: u64,
    highest_epoch: OwnerEpoch,
    plant: Option<Plant>,
    unwritten: Option<Commit>,
    pub seen: Seen,
}

struct Journal {
    term: u64,
    version: u64,
    durable: Durable,
}

/// A control process: the newest, one that is dead, or one that does not know that it has a successor.
struct Node {
    term: u64,
    alive: bool,
    coordinator: Coordinator,
    leases: Leases,
    commit: Option<(EffectId, Commit, Option<u64>)>,
}

struct Packet {
    node: usize,
    id: EffectId,
    call: Call,
    answer: Option<Answer>,
    /// Nobody waits for it any more: answered, or given up.
    done: bool,
}

impl Run {
    pub fn new(gateways: usize, plant: Option<Plant>) -> Self {
        let journal = Journal { term: 0, version: 1, durable: Durable::new(SEED) };
        let mut run = Self {
            now: 10_000,
            world: World::new(plant),
            fleet: Fleet::new(gateways, LEASE, plant),
            journal,
            nodes: Vec::new(),
            network: Vec::new(),
            buckets: permutation(SEED).into_iter().take(7).collect(),
            wishes: 0,
            frozen_in: 0,
            highest_epoch: OwnerEpoch(1),
            plant,
            unwritten: None,
            seen: Seen::default(),
        };
        run.start_control();
        run
    }

    /// One thing happens; which, the number says.
    pub fn act(&mut self, choice: u32) {
        let (kind, nth) = (choice % 64, (choice / 64) as usize);
        let newest = self.nodes.len() - 1;
        match kind {
            0..=6 => self.answer_call(newest),
            7..=11 => self.commit(newest),
            12 | 13 => self.hurry(nth % 9),
            14..=18 => self.go_well(nth),
            19..=22 => self.renew(nth),
            23..=25 => self.pass([1, 5, 20, 90][nth % 4]),
            26..=33 => {
                let bucket = self.bucket(nth);
                self.fleet.admit(nth / 7, bucket, (Boot::from_ms(self.now), &mut self.world));
            }
            34..=38 => self.fleet.arrive(nth, &mut self.world, &self.journal.durable),
            39..=43 => self.fleet.commit(nth, &mut self.world, &self.journal.durable),
            44 | 45 => self.world.step_forward(),
            46 | 47 => self.world.step_reverse(),
            48 => self.world.stall(nth),
            49 => self.fleet.stray(self.bucket(nth), &mut self.world),
            50..=52 => self.wish(nth),
            53 => self.wait_long(nth),
            54 => self.execute(nth),
            55 | 56 => self.deliver(nth),
            57 => self.fail(nth),
            58 => self.fleet.send_renewal(nth, Boot::from_ms(self.now)),
            59 => self.receive_renewal(nth),
            60 => self.fleet.lose_message(nth),
            61 => self.any_commit(nth),
            62 => self.rarely(nth),
            _ if nth.is_multiple_of(4) => self.world.lose_gates(),
            _ => self.fleet.receive_grant(nth),
        }
        self.world.check_one_owner(&self.buckets);
    }

    /// The newest control gets far without anybody else.
    fn hurry(&mut self, steps: usize) {
        for _ in 0..steps {
            self.commit(self.nodes.len() - 1);
            self.answer_call(self.nodes.len() - 1);
        }
    }

    /// All goes as it should for a while, and sometimes control is killed at the end of it.
    fn go_well(&mut self, nth: usize) {
        if self.recovers() {
            self.pass(3400);
        }
        for round in 0..nth % 16 {
            self.hurry(1 + round % 3);
            self.renew(round);
            self.world.step_forward();
            self.world.step_reverse();
            self.pass(2);
        }
        if nth / 16 % 10 == 7 {
            self.crash(nth.is_multiple_of(2));
        }
    }

    fn recovers(&self) -> bool {
        matches!(self.nodes[self.nodes.len() - 1].coordinator.stage, Stage::Recover(_))
    }

    /// Leases expire, or patience ends.
    fn wait_long(&mut self, nth: usize) {
        self.pass(if self.recovers() { 3400 } else { [150, 400, 1200, 3400][nth % 4] });
    }

    fn rarely(&mut self, nth: usize) {
        match nth % 12 {
            0..=2 => self.fleet.restart(nth / 12),
            3 | 4 => self.crash(true),
            5 => self.crash(false),
            6..=8 => self.fleet.cut_off(Some(nth / 12)),
            9 => self.fleet.cut_off(None),
            10 => self.world.refuse_next(),
            _ => self.world.settle_letters(),
        }
    }

    fn bucket(&self, nth: usize) -> Bucket {
        self.buckets[nth % self.buckets.len()]
    }

    fn now(&self) -> Now {
        Now { boot: Boot::from_ms(self.now), unix_ms: self.now }
    }

    /// A control process starts on the journal.
    fn start_control(&mut self) {
        self.journal.term += 1;
        self.unwritten = None;
        if self.plant == Some(Plant::EpochUsedAgain) {
            // Only what the table shows is remembered as used.
            self.journal.durable.burned = highest_epoch(&self.journal.durable);
        }
        let start = Start {
            capability: "mail".into(),
            team: "team".into(),
            steps: vec![1, 100],
            limits: (&Config::default()).into(),
            term: self.journal.term,
            durable: self.journal.durable.clone(),
            version: self.journal.version,
            newest: None,
            leases_until: Boot::from_ms(self.now).plus(LEASE + MARGIN),
        };
        let (coordinator, effects) = Coordinator::new(start, self.now());
        let terms = LeaseTerms { lease: LEASE, margin: MARGIN, holders_max: 100 };
        let (term, leases) = (self.journal.term, Leases::new(terms));
        self.nodes.push(Node { term, alive: true, coordinator, leases, commit: None });
        self.carry_out(self.nodes.len() - 1, effects);
    }

    /// The newest control dies, or only seems to; another starts.
    fn crash(&mut self, dies: bool) {
        let newest = self.nodes.len() - 1;
        self.nodes[newest].alive = !dies;
        self.start_control();
    }

    fn input(&mut self, node: usize, input: Input) {
        if !self.nodes[node].alive {
            return;
        }
        let now = self.now();
        let mut view = self.nodes[node].leases.view("mail", now.boot);
        if self.plant == Some(Plant::WatermarkBeforeDrain) {
            view.undrained = BucketSet::empty();
        }
        if self.plant == Some(Plant::ReleasedTooEarly) && self.nodes[node].coordinator.stage == Stage::Settle
        {
            view.acknowledged = u64::MAX;
        }
        let mut effects = self.nodes[node].coordinator.step(now, Input::Leases(view));
        effects.extend(self.nodes[node].coordinator.step(now, input));
        self.carry_out(node, effects);
    }

    fn carry_out(&mut self, node: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Call { id, call } => {
                    self.network.push(Packet { node, id, call, answer: None, done: false });
                }
                Effect::Commit { id, commit } => {
                    assert!(self.nodes[node].commit.is_none(), "two commits at once");
                    self.nodes[node].commit = Some((id, *commit, None));
                }
                Effect::Settle(..) => {}
            }
        }
    }

    /// A commit becomes durable, or its answer arrives.
    fn commit(&mut self, node: usize) {
        let Some((id, commit, durable)) = self.nodes[node].commit.take() else { return };
        if let Some(version) = durable {
            return self.input(node, Input::Committed { id, version });
        }
        if let Some(late) = self.unwritten.take() {
            self.write(&late);
        }
        let is_sleeper = self.nodes[node].term != self.journal.term;
        if is_sleeper && self.plant != Some(Plant::SleeperJournals) {
            self.seen.deposed += 1;
            return self.input(node, Input::Deposed);
        }
        self.check_commit(&commit);
        if self.plant == Some(Plant::FlipBeforeJournal) && commit.step == "flip" {
            let version = self.journal.version + 1;
            self.unwritten = Some(commit);
            return self.input(node, Input::Committed { id, version });
        }
        self.write(&commit);
        self.nodes[node].commit = Some((id, commit, Some(self.journal.version)));
    }

    fn write(&mut self, commit: &Commit) {
        self.journal.version += u64::from(commit.version == VersionChange::Next);
        self.journal.durable = commit.next.clone();
    }

    fn any_commit(&mut self, nth: usize) {
        self.commit(nth % self.nodes.len());
    }

    fn check_commit(&mut self, commit: &Commit) {
        let (before, next) = (&self.journal.durable, &commit.next);
        let begun = |d: &Durable| d.attempt.as_ref().map(|a| a.owner_epoch);
        if let (None, Some(epoch)) = (begun(before), begun(next)) {
            if epoch <= self.highest_epoch {
                self.world.violate(format!("owner epoch {epoch} is used again"));
            }
            (self.highest_epoch, self.frozen_in) = (epoch, self.journal.term);
        }
        if let Some(attempt) = &next.attempt {
            self.seen.left += attempt.left.len().min(1) as u32;
        }
        self.seen.restored += next.aborted.saturating_sub(before.aborted) as u32;
        let owned = |d: &Durable| d.service_buckets().len();
        self.seen.to_service += u32::from(owned(next) > owned(before));
        self.seen.to_monolith += u32::from(owned(next) < owned(before));
        let ended = (next.handovers, next.aborted) != (before.handovers, before.aborted);
        self.seen.ended_by_successor += u32::from(ended && self.frozen_in < self.journal.term);
    }

    /// The newest control's open call is executed and answered.
    fn answer_call(&mut self, node: usize) {
        if let Some(at) = self.network.iter().rposition(|p| p.node == node && !p.done) {
            self.execute(at);
            if self.network[at].answer.is_some() {
                self.deliver(at);
            }
        }
    }

    /// A call is executed, perhaps late, perhaps once more.
    fn execute(&mut self, nth: usize) {
        if self.network.is_empty() {
            return;
        }
        let at = nth % self.network.len();
        let guarded = matches!(self.network[at].call, Call::SetFence(_) | Call::Open(_) | Call::Close(_));
        if self.network[at].answer.is_none() || guarded {
            let answer = self.world.execute(&self.network[at].call);
            let first = &mut self.network[at].answer;
            if first.is_none() {
                *first = answer;
            }
        }
    }

    /// An answer arrives, perhaps again.
    fn deliver(&mut self, nth: usize) {
        if self.network.is_empty() {
            return;
        }
        let at = nth % self.network.len();
        let packet = &mut self.network[at];
        if let Some(answer) = packet.answer.clone() {
            let (node, id) = (packet.node, packet.id);
            packet.done = true;
            self.input(node, Input::Answered { id, answer });
        }
        if self.network.len() > PACKETS_MAX {
            self.network.remove(nth / 7 % PACKETS_MAX);
        }
    }

    /// An answer is lost; the call may still be executed.
    fn fail(&mut self, nth: usize) {
        if self.network.is_empty() {
            return;
        }
        let at = nth % self.network.len();
        let packet = &mut self.network[at];
        let (node, id) = (packet.node, packet.id);
        packet.done = true;
        if nth.is_multiple_of(3) {
            self.network.remove(at);
        }
        self.input(node, Input::Answered { id, answer: Answer::Failed("no answer".into()) });
    }

    /// A renewal comes and goes; whatever else is under way may come first.
    fn renew(&mut self, nth: usize) {
        self.fleet.send_renewal(nth, Boot::from_ms(self.now));
        self.receive_renewal(nth / 4);
        self.fleet.receive_grant(nth / 4);
        self.input(self.nodes.len() - 1, Input::Tick);
    }

    fn receive_renewal(&mut self, nth: usize) {
        let journal = (self.journal.version, &self.journal.durable, Boot::from_ms(self.now));
        let newest = self.nodes.len() - 1;
        self.fleet.receive_renewal(nth, &mut self.nodes[newest].leases, journal);
    }

    fn pass(&mut self, ms: u64) {
        self.now += ms;
        self.fleet.expire(Boot::from_ms(self.now));
        (0..self.nodes.len()).for_each(|node| self.input(node, Input::Tick));
    }

    fn wish(&mut self, nth: usize) {
        let wanted = self.journal.durable.wanted_percent;
        let share = SHARES[nth / 8 % 4];
        let action = match nth % 8 {
            0 => Action::Pause,
            1 => Action::Resume,
            _ if share >= wanted => Action::Advance(Some(share)),
            _ => Action::Rollback(Some(share)),
        };
        self.wishes += 1;
        let wish = Wish { action, by: "ann".into(), reason: String::new() };
        self.input(self.nodes.len() - 1, Input::Wish(WishId(self.wishes), wish));
    }

    /// Faults end, everybody goes on: the run must come to rest where it was wished, and go on both ways.
    pub fn settle(&mut self) {
        self.fleet.cut_off(None);
        self.world.stall(0);
        self.world.settle_letters();
        let newest = self.nodes.len() - 1;
        (0..newest).for_each(|node| self.nodes[node].alive = false);
        let wanted = Action::Rollback(Some(0.0));
        for action in [Action::Resume, wanted, Action::Advance(Some(SHARES[2])), wanted] {
            self.wishes += 1;
            let wish = Wish { action, by: "ann".into(), reason: String::new() };
            self.input(newest, Input::Wish(WishId(self.wishes), wish));
            self.come_to_rest(newest);
        }
    }

    fn come_to_rest(&mut self, newest: usize) {
        for round in 0..ROUNDS_MAX {
            self.settle_a_round(newest, round);
            if self.is_settled() {
                return self.check_settled();
            }
        }
        let status = self.nodes[newest].coordinator.status(self.now());
        let (stage, waits) = (format!("{:?}", self.nodes[newest].coordinator.stage), status.waiting_for);
        self.world.violate(format!("does not come to rest: {stage}, {waits:?}"));
    }

    fn settle_a_round(&mut self, newest: usize, round: usize) {
        // What is late comes now, in the order of sending.
        for at in 0..self.network.len() {
            self.execute(at);
        }
        self.network.retain(|p| p.node == newest && !p.done);
        if !self.nodes[newest].coordinator.is_busy() {
            self.world.lose_gates();
        }
        for _ in 0..4 {
            self.answer_call(newest);
            self.commit(newest);
        }
        // One gateway is slower than the other.
        let renewing = (0..self.fleet.len()).filter(|nth| round.is_multiple_of(1 + 3 * nth));
        renewing.for_each(|nth| self.renew(nth));
        if !self.is_at_rest() {
            let now = Boot::from_ms(self.now);
            (0..3).for_each(|nth| {
                let bucket = self.bucket(round + nth);
                self.fleet.admit(nth, bucket, (now, &mut self.world));
            });
        }
        (0..9).for_each(|nth| {
            self.fleet.arrive(nth, &mut self.world, &self.journal.durable);
            self.fleet.commit(0, &mut self.world, &self.journal.durable);
        });
        (0..5).for_each(|_| {
            self.world.step_forward();
            self.world.step_reverse();
        });
        self.world.check_one_owner(&self.buckets);
        self.pass(20);
    }

    fn is_settled(&self) -> bool {
        self.is_at_rest() && self.fleet.is_quiet() && self.world.is_quiet()
    }

    /// Whether every bucket is where it is wanted.
    fn is_at_rest(&self) -> bool {
        let coordinator = &self.nodes[self.nodes.len() - 1].coordinator;
        let pending = [Side::Service, Side::Monolith].map(|to| coordinator.pending(to).len());
        self.journal.durable.attempt.is_none() && !coordinator.is_busy() && pending == [0, 0]
    }

    fn check_settled(&mut self) {
        let (durable, buckets) = (&self.journal.durable, &self.buckets);
        self.world.check_settled(buckets, durable);
        let unsteady = durable.table.filter(|h| h.phase != Phase::Steady);
        let highest = highest_epoch(durable);
        if !unsteady.is_empty() || durable.service_buckets() != durable.wanted() || highest > durable.burned {
            self.world.violate(format!("the journal is not at rest: {unsteady}, {highest}"));
        }
    }

    pub fn violations(&self) -> &[String] {
        &self.world.violations
    }
}

fn highest_epoch(durable: &Durable) -> OwnerEpoch {
    let buckets = (0..4096).filter_map(|n| Bucket::try_from(n).ok());
    buckets.map(|b| durable.table.get(b).owner_epoch).max().unwrap_or(OwnerEpoch(0))
}
