//! What people read: where a migration stands, what it waits for, and reports of handovers.

use super::durable::Attempt;
use super::effect::Now;
use super::{Coordinator, Stage, limits};
use banyan_core::protocol::migration::{HandoverOutcome, HandoverReport, MigrationStatus};
use banyan_core::{BUCKETS, BucketSet, Side};
use banyan_runtime::clock::Boot;

/// How many lines say what is waited for.
const LINES_MAX: usize = 12;

/// What keeps buckets from moving, and how patiently it is tried again.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    /// Buckets that could not be had, each in one group, and why.
    left: Vec<Left>,
    /// Why a whole share cannot move.
    pub refusal: Option<Refusal>,
    /// A call that is being tried again.
    pub trouble: Option<String>,
    /// Tries in a row that moved nothing.
    pub failures: u32,
    /// The direction to try first.
    pub prefer: Side,
}

/// Buckets that could not be had for the same causes.
#[derive(Clone, Debug)]
struct Left {
    buckets: BucketSet,
    causes: Vec<String>,
}

/// Why a whole share cannot move.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub since: Boot,
    pub cause: String,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { left: Vec::new(), refusal: None, trouble: None, failures: 0, prefer: Side::Monolith }
    }
}

impl Waiting {
    /// The buckets that could not be had.
    pub fn left(&self) -> BucketSet {
        self.left.iter().fold(BucketSet::empty(), |all, group| all.union(&group.buckets))
    }

    /// Buckets cannot be had.
    pub fn leave(&mut self, buckets: &BucketSet, causes: &[String]) {
        self.keep(|left| left.difference(buckets));
        if !buckets.is_empty() {
            self.left.push(Left { buckets: buckets.clone(), causes: causes.to_vec() });
        }
    }

    fn keep(&mut self, which: impl Fn(&BucketSet) -> BucketSet) {
        self.left.iter_mut().for_each(|group| group.buckets = which(&group.buckets));
        self.left.retain(|group| !group.buckets.is_empty());
    }

    /// A cause keeps a whole share from moving.
    pub fn refuse(&mut self, cause: String, now: Now) {
        let since = self.refusal.as_ref().map_or(now.boot, |r| r.since);
        self.refusal = Some(Refusal { since, cause });
    }

    /// Something else is wished: it is tried at once.
    pub fn wish(&mut self, pending: &BucketSet) {
        self.keep(|left| left.intersection(pending));
        self.failures = 0;
        self.prefer = Side::Monolith;
    }

    /// When the buckets of a refused share become stragglers.
    pub fn straggles_at(&self) -> Option<Boot> {
        self.refusal.as_ref().map(|refusal| refusal.since.plus(limits::STRAGGLE_AFTER))
    }

    /// Buckets of an attempt have moved; those that left it wait.
    pub fn moved(&mut self, attempt: &Attempt) {
        self.leave(&attempt.left, &attempt.causes);
        self.keep(|left| left.difference(&attempt.buckets));
        *self = Self { left: std::mem::take(&mut self.left), ..Self::default() };
    }
}

impl Coordinator {
    /// Where the migration stands.
    pub fn status(&self, now: Now) -> MigrationStatus {
        let service_buckets = self.owned.clone();
        let pending = self.pending(Side::Service).union(&self.pending(Side::Monolith));
        let long = self.waiting.straggles_at().is_some_and(|at| at <= now.boot);
        let stragglers = if long { pending.clone() } else { self.waiting.left().intersection(&pending) };
        let running = self.durable.attempt.as_ref();
        MigrationStatus {
            capability: self.start.capability.clone(),
            owner: self.start.team.clone(),
            wanted_percent: self.durable.wanted_percent,
            percent: service_buckets.len() as f64 / f64::from(BUCKETS) * 100.0,
            paused: self.durable.paused,
            service_buckets,
            waiting_for: self.waiting_for(&pending, &stragglers, now),
            stragglers,
            handover: running
                .map(|attempt| self.report(attempt, HandoverOutcome::Running, now))
                .or_else(|| self.newest.clone()),
            handovers: self.durable.handovers,
            aborted: self.durable.aborted,
            version: self.version,
            cut: self.cut_status(),
            degraded_writes: self.leases.degraded,
        }
    }

    fn waiting_for(&self, pending: &BucketSet, stragglers: &BucketSet, now: Now) -> Vec<String> {
        let mut all = Vec::new();
        let busy = self.durable.attempt.is_some() || !pending.is_empty();
        match &self.stage {
            Stage::Deposed(cause) => all.push(cause.clone()),
            Stage::Recover(until) if busy => {
                all.push(format!(
                    "leases of before the start: {} ms at most",
                    until.since(now.boot).as_millis()
                ));
            }
            Stage::Lapse => all.push("the last lease of the service to run out".into()),
            _ => {}
        }
        if self.durable.paused && !pending.is_empty() {
            all.push("`banyan migration resume`: handovers are paused".into());
        }
        all.extend(self.waiting.trouble.clone());
        if !pending.is_empty() || self.durable.awaits_admission() {
            all.extend(self.waiting.refusal.as_ref().map(|r| r.cause.clone()));
        }
        let named = self.waiting.left.iter().filter(|g| !g.buckets.intersection(stragglers).is_empty());
        all.extend(named.flat_map(|group| group.causes.iter().cloned()));
        all.dedup();
        all.truncate(LINES_MAX);
        all
    }

    /// The report of an attempt.
    pub(super) fn report(&self, attempt: &Attempt, outcome: HandoverOutcome, now: Now) -> HandoverReport {
        let held = || {
            let since_freeze = now.unix_ms.saturating_sub(attempt.frozen_ms);
            self.timing.held_ms(now.boot).unwrap_or(since_freeze)
        };
        HandoverReport {
            owner_epoch: attempt.owner_epoch,
            capability: self.start.capability.clone(),
            to: attempt.to,
            buckets: attempt.buckets.clone(),
            left: attempt.left.clone(),
            causes: attempt.causes.clone(),
            outcome,
            started_ms: attempt.started_ms,
            hold_ms: if outcome == HandoverOutcome::Running { 0 } else { held() },
            steps: self.timing.steps(now.boot),
            exposure: attempt.exposure.clone(),
        }
    }
}
