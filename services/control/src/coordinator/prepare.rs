//! From a wish to a freeze: what is to move, whether it can begin, and which buckets can be had.
//!
//! Nothing is held yet, so whatever speaks against it is a refusal: said, and tried again later. The probe
//! takes the gates for a moment and gives them back, so that buckets with long transactions never enter a
//! freeze. It uses the owner epoch that the freeze will burn.

use super::effect::Now;
use super::limits::{self, Limits, backoff};
use super::{Coordinator, Stage, words};
use banyan_core::protocol::monolith::{GatesTaken, SyncStatus};
use banyan_core::protocol::target::TargetOwnership;
use banyan_core::{BucketSet, Side, bucket};

/// What an attempt will be, while nothing is held.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub to: Side,
    pub buckets: BucketSet,
    pub left: BucketSet,
    pub causes: Vec<String>,
    pub refusal: Option<String>,
    pub started_ms: u64,
    /// Whether it goes without the service.
    pub forced: bool,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            to: Side::Service,
            buckets: BucketSet::empty(),
            left: BucketSet::empty(),
            causes: Vec::new(),
            refusal: None,
            started_ms: 0,
            forced: false,
        }
    }
}

impl Draft {
    /// Buckets that stay behind, and why.
    fn leave(&mut self, left: &BucketSet, causes: Vec<String>) {
        self.buckets = self.buckets.difference(left);
        self.left = self.left.union(left);
        self.causes.extend(causes);
    }
}

impl Coordinator {
    /// What to move next. Going back comes first, unless it is what could not move just now.
    pub(super) fn plan(&self) -> Option<(Side, BucketSet)> {
        if self.durable.paused {
            return None;
        }
        let first = self.waiting.prefer;
        [first, first.other()].into_iter().map(|to| (to, self.pending(to))).find(|(_, set)| !set.is_empty())
    }

    /// Whether there is anything to do.
    pub(super) fn has_work(&self) -> bool {
        let admits = self.durable.awaits_admission() && !self.durable.paused;
        admits || self.plan().is_some()
    }

    pub(super) fn begin(&mut self, now: Now) {
        if self.durable.awaits_admission() && !self.durable.paused {
            return self.begin_admission(now);
        }
        let Some((to, pending)) = self.plan() else { return };
        let (buckets, forced) = (self.portion(to, &pending), self.durable.is_forced());
        self.draft = Draft { to, buckets, started_ms: now.unix_ms, forced, ..Draft::default() };
        self.timing.restart();
        if forced {
            self.enter(Stage::Lapse, now);
            return self.look_at_lapse(now);
        }
        self.enter(Stage::Ready, now);
        self.look_at_readiness(now);
    }

    /// As many as one attempt may hold: what was left behind comes last, and otherwise the order in which the
    /// cohort grows, or the reverse of it on the way back.
    fn portion(&self, to: Side, pending: &BucketSet) -> BucketSet {
        let fresh = pending.difference(&self.waiting.left());
        let from = if fresh.is_empty() { pending } else { &fresh };
        let mut order = bucket::permutation(self.durable.seed);
        if to == Side::Monolith {
            order.reverse();
        }
        order.into_iter().filter(|b| from.contains(*b)).take(self.start.limits.buckets_max).collect()
    }

    /// A gateway that is behind would keep a freeze waiting, so it is waited for before.
    pub(super) fn look_at_readiness(&mut self, now: Now) {
        let leases = &self.leases;
        let cause = match (&leases.slowest, &leases.silent) {
            (Some(slowest), _) if leases.acknowledged < self.version => format!(
                "gateway {slowest} routes by version {} and not yet by {}",
                leases.acknowledged, self.version
            ),
            (_, Some(silent)) => format!("gateway {silent} has missed the renewal of its lease"),
            _ => return self.enter(Stage::Status, now),
        };
        // Behind the newest change everybody is, for a moment.
        if now.boot.since(self.entered) >= limits::READY_GRACE {
            self.waiting.refuse(cause, now);
        }
    }

    pub(super) fn streams_known(&mut self, status: &SyncStatus, now: Now) {
        if let Some(cause) = unfit(status, self.draft.to, &self.start.limits) {
            return self.refuse(cause, now);
        }
        let dead = status.dead_letter_buckets.intersection(&self.draft.buckets);
        if !dead.is_empty() {
            self.draft.leave(&dead, vec![words::parked(&dead)]);
        }
        if self.draft.buckets.is_empty() {
            return self.nothing_free(now);
        }
        self.enter(Stage::Ownership, now);
    }

    pub(super) fn ownership_known(&mut self, ownership: &TargetOwnership, now: Now) {
        let highest = ownership.open.iter().map(|(epoch, _)| *epoch).max();
        if let Some(shown) = highest.filter(|shown| *shown > self.durable.burned) {
            let burned = self.durable.burned;
            let cause = format!(
                "the service shows owner epoch {shown}, and the journal knows none above {burned}: the journal is \
                 older than the service"
            );
            return self.refuse(cause, now);
        }
        if !ownership.leased {
            return self.refuse("the service has no valid lease".into(), now);
        }
        self.enter(Stage::Probe, now);
    }

    pub(super) fn probed(&mut self, gates: GatesTaken, now: Now) {
        if gates.xa_prepared > 0 {
            self.draft.refusal = Some(words::xa(gates.xa_prepared));
        }
        let left = self.draft.buckets.difference(&gates.taken);
        if !left.is_empty() {
            let causes = words::holders(&left, &gates.holders);
            self.draft.leave(&left, causes);
        }
        self.enter(Stage::ProbeRelease, now);
    }

    pub(super) fn probe_released(&mut self, now: Now) {
        if let Some(cause) = self.draft.refusal.take() {
            return self.refuse(cause, now);
        }
        if self.draft.buckets.is_empty() {
            return self.nothing_free(now);
        }
        // The wish may have changed meanwhile.
        self.draft.buckets = self.draft.buckets.intersection(&self.pending(self.draft.to));
        if self.draft.buckets.is_empty() || self.durable.paused || self.is_draft_barred() {
            return self.enter(Stage::Idle(now.boot), now);
        }
        self.enter(Stage::Freeze, now);
    }

    /// The whole attempt cannot begin.
    pub(super) fn refuse(&mut self, cause: String, now: Now) {
        self.waiting.refuse(cause, now);
        self.pause_after_probe(now);
    }

    /// No bucket of the attempt can be had.
    fn nothing_free(&mut self, now: Now) {
        self.waiting.refusal = None;
        self.waiting.leave(&self.draft.left, &self.draft.causes);
        self.pause_after_probe(now);
    }

    fn pause_after_probe(&mut self, now: Now) {
        self.waiting.failures += 1;
        self.waiting.prefer = self.draft.to.other();
        let limits = &self.start.limits;
        let pause = backoff(limits.retry_min, limits.probe_max, self.waiting.failures);
        self.enter(Stage::Idle(now.boot.plus(pause)), now);
    }
}

/// Why the streams do not allow a handover, where they do not.
pub(super) fn unfit(status: &SyncStatus, to: Side, limits: &Limits) -> Option<String> {
    let mismatches = status.verified.as_ref().map_or(0, |report| report.mismatches);
    let cause = if !status.fence_installed {
        "the fence is not installed; run `banyan fence install`".into()
    } else if !status.copied {
        format!("{} of about {} rows are copied", status.copy_rows, status.copy_rows_estimated)
    } else if !status.forward_live {
        "the stream from the monolith to the service is down".into()
    } else if !status.reverse_live {
        "the stream from the service to the monolith is down".into()
    } else if status.forward_lag_ms > limits.lag_ms_max {
        format!("the service lags {} ms behind the monolith", status.forward_lag_ms)
    } else if status.xa_prepared > 0 {
        words::xa(status.xa_prepared)
    } else if mismatches > 0 && to == Side::Service {
        format!("{mismatches} rows differ between the sides; run `banyan verify`")
    } else {
        return None;
    };
    Some(match status.faults.first() {
        Some(fault) => format!("{cause}: {fault}"),
        None => cause,
    })
}
