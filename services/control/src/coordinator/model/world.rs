//! What the coordinator coordinates: the monolith with gates and fence, the service, the streams between.
//!
//! Each write is a number. The world notes a violation when a side writes that does not own the bucket in the
//! journal, when both could, when a side writes before the other's last write has arrived, or when a stream
//! finds a row that it must not apply.

use super::forced;
use super::plants::Plant;
use crate::coordinator::durable::Durable;
use crate::coordinator::effect::{Answer, Call};
use banyan_core::protocol::monolith::{Direction, FenceSet, GatesTake, GatesTaken, MarkWait, SyncStatus};
use banyan_core::protocol::target::{OwnershipOpen, TargetOwnership};
use banyan_core::row::FenceOwner;
use banyan_core::{Bucket, BucketSet, OwnerEpoch, Side, Turn};
use std::collections::{BTreeMap, BTreeSet};

/// Both sides.
pub struct World {
    pub monolith: Monolith,
    pub service: Service,
    pub(super) forward: usize,
    forward_marks: BTreeSet<OwnerEpoch>,
    pub(super) letters: Vec<(u64, Bucket)>,
    refuses_next: bool,
    forgot_position: bool,
    plant: Option<Plant>,
    pub(super) reverse: usize,
    reverse_marks: BTreeSet<OwnerEpoch>,
    stalled: Option<Side>,
    acknowledged: Vec<u64>,
    /// The service without which a forced rollback goes.
    pub lost: forced::Lost,
    pub violations: Vec<String>,
}

/// The monolith's database.
#[derive(Default)]
pub struct Monolith {
    pub(super) fence: BTreeMap<Bucket, (FenceOwner, OwnerEpoch)>,
    guard: BTreeMap<Bucket, Turn>,
    gates: Option<Gates>,
    connections: u64,
    transactions: Vec<(u64, Bucket)>,
    pub(super) rows: BTreeMap<u64, u32>,
    pub(super) binlog: Vec<Log>,
}

struct Gates {
    turn: Turn,
    buckets: BucketSet,
    connection_id: u64,
}

pub(super) enum Log {
    Row(u64, Bucket),
    OwnRow(u64),
    Fence(FenceOwner, OwnerEpoch, BucketSet),
}

/// The service's database.
#[derive(Default)]
pub struct Service {
    guard: BTreeMap<Bucket, Turn>,
    open: BTreeMap<Bucket, OwnerEpoch>,
    /// Where the monolith took a bucket without a close.
    taken: BTreeMap<Bucket, OwnerEpoch>,
    pub(super) rows: BTreeMap<u64, u32>,
    pub(super) outbox: Vec<Out>,
}

pub(super) enum Out {
    Row(u64, Bucket),
    Mark(OwnerEpoch),
}

/// What became of a write that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It waits for a gate.
    Waits,
    /// It is in a transaction.
    Begun,
    /// It is committed and acknowledged.
    Done,
    /// It is refused.
    Refused,
}

impl World {
    pub fn new(plant: Option<Plant>) -> Self {
        Self {
            monolith: Monolith::default(),
            service: Service::default(),
            forward: 0,
            forward_marks: BTreeSet::new(),
            letters: Vec::new(),
            refuses_next: false,
            forgot_position: false,
            plant,
            reverse: 0,
            reverse_marks: BTreeSet::new(),
            stalled: None,
            acknowledged: Vec::new(),
            lost: forced::Lost::default(),
            violations: Vec::new(),
        }
    }

    /// Executes a call; `None` while it waits for a lock.
    pub fn execute(&mut self, call: &Call) -> Option<Answer> {
        if let Some(answer) = self.answer_of_lost(call) {
            return Some(answer);
        }
        Some(match call {
            Call::Cut(cut) => self.cut(cut),
            Call::Verify => self.compare(),
            Call::Status => self.status(),
            Call::Ownership => Answer::Ownership(self.service.ownership()),
            Call::TakeGates(take) => self.monolith.take(take, self.plant),
            Call::ReleaseGates(release) => {
                self.monolith.gates.take_if(|held| {
                    held.turn.attempt == release.attempt
                        || release.kill_connection_id == Some(held.connection_id)
                });
                Answer::Released
            }
            Call::SetFence(set) => Answer::Applied(self.monolith.set_fence(set, self.plant)?),
            Call::WaitMark(wait) => self.wait_mark(wait),
            // Too late: the stream has said that the monolith took it in a later owner epoch.
            Call::Open(open) if self.service.taken_after(open) => Answer::Applied(false),
            Call::Open(open) => {
                let may = raise(&mut self.service.guard, (&open.buckets, open.turn), self.plant);
                if may {
                    open.buckets.iter().for_each(|b| {
                        self.service.open.insert(b, open.owner_epoch);
                    });
                }
                Answer::Applied(may)
            }
            Call::Close(close) => {
                let may = raise(&mut self.service.guard, (&close.buckets, close.turn), self.plant);
                if may {
                    close.buckets.iter().for_each(|b| {
                        self.service.open.remove(&b);
                    });
                    self.service.outbox.push(Out::Mark(close.owner_epoch));
                }
                Answer::Applied(may)
            }
        })
    }

    fn wait_mark(&self, wait: &MarkWait) -> Answer {
        let is_forward = wait.direction == Direction::Forward;
        let marks = if is_forward { &self.forward_marks } else { &self.reverse_marks };
        let reached = marks.contains(&wait.owner_epoch);
        let letters = self.letters.iter().map(|(_, bucket)| *bucket);
        let parked: BucketSet = letters.filter(|bucket| wait.buckets.contains(*bucket)).collect();
        if is_forward && reached && !parked.is_empty() && self.plant != Some(Plant::LetterLetsMarkPass) {
            return Answer::Parked(parked);
        }
        Answer::Reached(reached)
    }

    /// The service cannot apply the next row.
    pub fn refuse_next(&mut self) {
        self.refuses_next = true;
    }

    /// Somebody has mended what made letters of rows.
    pub fn settle_letters(&mut self) {
        self.refuses_next = false;
        for (write, bucket) in std::mem::take(&mut self.letters) {
            if self.service.open.contains_key(&bucket) {
                self.violate(format!("bucket {bucket} was opened before write {write} was applied"));
            }
            *self.service.rows.entry(write).or_default() += 1;
        }
    }

    /// A write reaches the monolith.
    pub fn begin_at_monolith(&mut self, write: u64, bucket: Bucket) -> Arrival {
        if self.monolith.gates.as_ref().is_some_and(|held| held.buckets.contains(bucket)) {
            return Arrival::Waits;
        }
        if self.monolith.fence(bucket).0 != FenceOwner::Monolith {
            return Arrival::Refused;
        }
        let behind = self.service.outbox.get(self.reverse..).unwrap_or_default().iter();
        let exposed = |write: &u64| self.lost.exposed.contains(write);
        if behind.into_iter().any(|out| matches!(out, Out::Row(w, b) if *b == bucket && !exposed(w))) {
            self.violate(format!(
                "the monolith writes bucket {bucket} before the service's last write is there"
            ));
        }
        self.monolith.transactions.push((write, bucket));
        Arrival::Begun
    }

    /// A transaction of the monolith commits.
    pub fn commit_at_monolith(&mut self, write: u64, journal: &Durable) {
        let Some(at) = self.monolith.transactions.iter().position(|(w, _)| *w == write) else { return };
        let (_, bucket) = self.monolith.transactions.remove(at);
        self.owned_by(Side::Monolith, bucket, journal);
        *self.monolith.rows.entry(write).or_default() += 1;
        self.monolith.binlog.push(Log::Row(write, bucket));
        self.acknowledged.push(write);
    }

    /// A write reaches the service.
    pub fn write_at_service(
        &mut self,
        (write, bucket): (u64, Bucket),
        epoch: OwnerEpoch,
        journal: &Durable,
    ) -> Arrival {
        let is_open = match self.plant {
            Some(Plant::EpochNotChecked) => self.service.open.contains_key(&bucket),
            _ => self.service.open.get(&bucket) == Some(&epoch),
        };
        if !self.lost.is_leased() || !is_open {
            return Arrival::Refused;
        }
        let now = journal.table.get(bucket).owner_epoch;
        if epoch != now {
            self.violate(format!("write {write} of owner epoch {epoch} was applied in owner epoch {now}"));
        }
        let behind = self.monolith.binlog[self.forward..].iter();
        if behind.into_iter().any(|log| matches!(log, Log::Row(_, b) if *b == bucket)) {
            self.violate(format!(
                "the service writes bucket {bucket} before the monolith's last write is there"
            ));
        }
        self.owned_by(Side::Service, bucket, journal);
        *self.service.rows.entry(write).or_default() += 1;
        self.service.outbox.push(Out::Row(write, bucket));
        self.lost.answered.insert(write, bucket);
        self.acknowledged.push(write);
        Arrival::Done
    }

    /// Whether a write is in a transaction of the monolith.
    pub fn has_begun(&self, write: u64) -> bool {
        self.monolith.transactions.iter().any(|(w, _)| *w == write)
    }

    /// One of the monolith's transactions.
    pub fn transaction(&self, nth: usize) -> Option<u64> {
        let all = &self.monolith.transactions;
        (!all.is_empty()).then(|| all[nth % all.len()].0)
    }

    /// The stream to one side stalls, or both go on.
    pub fn stall(&mut self, nth: usize) {
        self.stalled = [None, Some(Side::Service), Some(Side::Monolith)][nth % 3];
    }

    /// The forward stream applies its next event.
    pub fn step_forward(&mut self) {
        if self.is_without_rows() {
            return;
        }
        let Some(event) = self.monolith.binlog.get(self.forward) else { return };
        if self.lost.is_down || self.stalled == Some(Side::Service) {
            return;
        }
        self.forward += 1;
        if let Log::Row(write, bucket) = event
            && std::mem::take(&mut self.refuses_next)
        {
            return self.letters.push((*write, *bucket));
        }
        if self.plant == Some(Plant::PositionApart) && self.forward == 8 && !self.forgot_position {
            // Killed between the effect and the position.
            (self.forgot_position, self.forward) = (true, self.forward - 1);
        }
        match event {
            Log::Row(write, bucket) if self.service.open.contains_key(bucket) => {
                let text = format!("write {write} of bucket {bucket} comes after the service has opened");
                self.violate(text);
            }
            Log::Row(write, _) => *self.service.rows.entry(*write).or_default() += 1,
            Log::OwnRow(write) if self.plant == Some(Plant::TagsIgnored) => {
                *self.service.rows.entry(*write).or_default() += 1;
            }
            Log::OwnRow(_) => {}
            Log::Fence(FenceOwner::Moving, epoch, _) => {
                self.forward_marks.insert(*epoch);
            }
            // Taken away without the service's mark.
            Log::Fence(FenceOwner::Monolith, epoch, buckets) => {
                buckets.iter().for_each(|bucket| self.service.withdraw(bucket, *epoch));
            }
            Log::Fence(..) => {}
        }
    }

    /// The reverse stream applies its next event.
    pub fn step_reverse(&mut self) {
        if self.lost.is_down || self.stalled == Some(Side::Monolith) || self.waits_or_conflicts() {
            return;
        }
        let Some(event) = self.service.outbox.get(self.reverse) else { return };
        self.reverse += 1;
        match event {
            Out::Row(write, _) => {
                *self.monolith.rows.entry(*write).or_default() += 1;
                self.monolith.binlog.push(Log::OwnRow(*write));
            }
            Out::Mark(epoch) => {
                self.reverse_marks.insert(*epoch);
            }
        }
    }

    /// The connection that holds the gates is lost, as the database's timeout does to one that a late command
    /// left.
    pub fn lose_gates(&mut self) {
        self.monolith.gates = None;
    }

    /// Whether no transaction is open and both streams have come to their end.
    pub fn is_quiet(&self) -> bool {
        self.monolith.transactions.is_empty()
            && self.letters.is_empty()
            && self.forward == self.monolith.binlog.len()
            && self.reverse == self.service.outbox.len()
    }

    /// Notes where both sides could write.
    pub fn check_one_owner(&mut self, buckets: &[Bucket]) {
        for bucket in buckets {
            let begun = self.monolith.transactions.iter().any(|(_, b)| b == bucket);
            let monolith = begun || self.monolith.fence(*bucket).0 == FenceOwner::Monolith;
            if monolith && self.lost.is_leased() && self.service.open.contains_key(bucket) {
                self.violate(format!("both sides may write bucket {bucket}"));
            }
        }
    }

    /// After everything has settled: both sides hold every acknowledged write once and obey the journal.
    pub fn check_settled(&mut self, buckets: &[Bucket], journal: &Durable) {
        for write in self.acknowledged.clone() {
            let counts = (self.monolith.rows.get(&write), self.service.rows.get(&write));
            if counts != (Some(&1), Some(&1)) && !self.lost.is_exposed(write, counts) {
                self.violate(format!("write {write} was acknowledged and is there {counts:?} times"));
            }
        }
        for bucket in buckets {
            let holding = journal.table.get(*bucket);
            let fence = self.monolith.fence(*bucket);
            let open = self.service.open.get(bucket).copied();
            let wanted = match holding.owner {
                Side::Monolith => ((FenceOwner::Monolith, holding.owner_epoch), None),
                Side::Service => ((FenceOwner::Service, holding.owner_epoch), Some(holding.owner_epoch)),
            };
            if (fence, open) != wanted {
                let text = format!("bucket {bucket} is {holding:?}, fence {fence:?}, service {open:?}");
                self.violate(text);
            }
        }
    }

    pub fn violate(&mut self, text: String) {
        self.violations.push(text);
    }

    fn owned_by(&mut self, side: Side, bucket: Bucket, journal: &Durable) {
        let owner = journal.table.get(bucket).owner;
        if owner != side {
            self.violate(format!("two owners: the {side} wrote bucket {bucket} of the {owner}"));
        }
    }
}

impl Monolith {
    pub(super) fn fence(&self, bucket: Bucket) -> (FenceOwner, OwnerEpoch) {
        self.fence.get(&bucket).copied().unwrap_or((FenceOwner::Monolith, OwnerEpoch(1)))
    }

    fn take(&mut self, take: &GatesTake, plant: Option<Plant>) -> Answer {
        if self.gates.as_ref().is_some_and(|held| held.turn > take.turn) {
            return Answer::Failed("gates are held by a higher turn".into());
        }
        let mut taken = take.buckets.clone();
        if plant != Some(Plant::WatermarkBeforeDrain) {
            self.transactions.iter().for_each(|(_, bucket)| {
                taken.remove(*bucket);
            });
        }
        self.connections += 1;
        let connection_id = self.connections;
        self.gates = Some(Gates { turn: take.turn, buckets: taken.clone(), connection_id });
        Answer::Gates(GatesTaken { connection_id, taken, holders: Vec::new(), xa_prepared: 0 })
    }

    /// Waits where a transaction has read the fence: it holds the row's lock until it ends.
    fn set_fence(&mut self, set: &FenceSet, plant: Option<Plant>) -> Option<bool> {
        let waits = plant != Some(Plant::WatermarkBeforeDrain);
        if waits && self.transactions.iter().any(|(_, bucket)| set.buckets.contains(*bucket)) {
            return None;
        }
        let may = raise(&mut self.guard, (&set.buckets, set.turn), plant);
        if may {
            let stays_open = plant == Some(Plant::FenceOpenAfterMark) && set.owner == FenceOwner::Moving;
            set.buckets.iter().filter(|_| !stays_open).for_each(|b| {
                self.fence.insert(b, (set.owner, set.owner_epoch));
            });
            self.binlog.push(Log::Fence(set.owner, set.owner_epoch, set.buckets.clone()));
        }
        Some(may)
    }
}

impl Service {
    /// The monolith has the bucket in this owner epoch.
    fn withdraw(&mut self, bucket: Bucket, epoch: OwnerEpoch) {
        if self.open.get(&bucket).is_some_and(|own| *own < epoch) {
            self.open.remove(&bucket);
        }
        let known = self.taken.entry(bucket).or_insert(epoch);
        *known = (*known).max(epoch);
    }

    /// What the monolith's fence says where the stream begins.
    pub(super) fn learn_fence(&mut self, fence: &BTreeMap<Bucket, (FenceOwner, OwnerEpoch)>) {
        for (bucket, (_, epoch)) in fence {
            self.withdraw(*bucket, *epoch);
        }
    }

    fn taken_after(&self, open: &OwnershipOpen) -> bool {
        open.buckets.iter().any(|b| self.taken.get(&b).is_some_and(|taken| *taken > open.owner_epoch))
    }

    pub(super) fn ownership(&self) -> TargetOwnership {
        let mut open: BTreeMap<OwnerEpoch, BucketSet> = BTreeMap::new();
        for (bucket, epoch) in &self.open {
            open.entry(*epoch).or_insert_with(BucketSet::empty).insert(*bucket);
        }
        TargetOwnership { leased: true, open: open.into_iter().collect() }
    }
}

/// The guard rises for all buckets or for none.
fn raise(
    guard: &mut BTreeMap<Bucket, Turn>,
    (buckets, turn): (&BucketSet, Turn),
    plant: Option<Plant>,
) -> bool {
    let unguarded = plant == Some(Plant::SleeperCommands);
    let may = unguarded || buckets.iter().all(|b| guard.get(&b).is_none_or(|seen| *seen < turn));
    if may {
        buckets.iter().for_each(|b| {
            guard.insert(b, turn);
        });
    }
    may
}

/// Streams without a fault.
pub fn healthy() -> SyncStatus {
    SyncStatus {
        capability: "mail".into(),
        fence_installed: true,
        copied: true,
        copy_rows: 0,
        copy_rows_estimated: 0,
        forward_live: true,
        reverse_live: true,
        forward_lag_ms: 0,
        reverse_lag_ms: 0,
        lag_ms: Default::default(),
        dead_letter_buckets: BucketSet::empty(),
        xa_prepared: 0,
        verified: None,
        faults: Vec::new(),
    }
}
