//! Going back without the service, and admitting it again.
//!
//! From the wish on the service gets no lease, whatever else is wished; a forced attempt begins when the last
//! one has run out. It asks nothing of the service: gateways say what they have acknowledged, sync fences
//! reverse and says what it has not written, and one commit journals both with the new owner. An advance asks
//! to admit the service again: it is closed under a fresh turn, so that no late command opens it; reverse
//! reads its outbox to that mark, which queues what came late as conflicts; both sides are compared; only
//! then may it have a lease.

use super::commits::Purpose;
use super::durable::{Attempt, Durable};
use super::effect::{Call, Now};
use super::finish::Command;
use super::wish::Rejection;
use super::{Coordinator, Stage, limits, prepare};
use banyan_core::protocol::exposure::{
    AnsweredWrite, Answers, BucketExposure, CutOff, Exposure, ExposureSource, ReverseCut,
};
use banyan_core::protocol::migration::CutStatus;
use banyan_core::protocol::monolith::{SyncStatus, VerifyReport};
use banyan_core::protocol::target::OwnershipClose;
use banyan_core::{Bucket, BucketSet, OwnerEpoch, Side};
use serde::{Deserialize, Serialize};

/// A forced rollback, from the wish until the service is admitted again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cut {
    /// When it was wished, in milliseconds since 1970.
    pub since_ms: u64,
    /// Who wished it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Whether buckets go back without the service; else it is to be admitted again.
    pub forced: bool,
    /// The owner epoch of the close that admits the service, once it is burned.
    pub admission: Option<OwnerEpoch>,
    /// What the monolith did not have, over all attempts.
    pub exposure: Exposure,
}

impl Durable {
    /// Whether the service gets no lease. Computed from what is journalled, never from a wish.
    pub fn is_barred(&self) -> bool {
        #[cfg(test)]
        if plant::is(plant::Plant::BarByWish) {
            return self.is_forced() && self.attempt.is_none();
        }
        self.cut.is_some() || self.attempt.as_ref().is_some_and(|attempt| attempt.forced)
    }

    /// Whether buckets go back without the service.
    pub fn is_forced(&self) -> bool {
        self.cut.as_ref().is_some_and(|cut| cut.forced)
    }

    /// Whether the service is to be admitted again.
    pub fn awaits_admission(&self) -> bool {
        self.cut.as_ref().is_some_and(|cut| !cut.forced)
    }

    /// Everything goes back without the service. One that was wished before keeps its exposure.
    pub(super) fn force(&mut self, (by, reason): (&str, &str), since_ms: u64) {
        let exposure = self.cut.take().map(|cut| cut.exposure).unwrap_or_default();
        let (by, reason) = (by.to_owned(), reason.to_owned());
        self.cut = Some(Cut { since_ms, by, reason, forced: true, admission: None, exposure });
        self.wanted_percent = 0.0;
        self.paused = false;
    }

    /// The service is to be admitted again, where it was given up.
    ///
    /// # Errors
    /// Buckets are still to go back.
    pub(super) fn readmit(&mut self) -> Result<(), Rejection> {
        // An advance that still runs may flip, and would open nothing while the service is barred.
        let advances = self.attempt.as_ref().is_some_and(|attempt| attempt.to == Side::Service);
        let left = advances || !self.service_buckets().is_empty();
        match &mut self.cut {
            Some(cut) if cut.forced && left => Err(Rejection::Forced),
            Some(cut) => {
                cut.forced = false;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The close that admits the service gets an owner epoch of its own.
    pub(super) fn admission(&mut self) {
        let epoch = self.next_epoch();
        if let Some(cut) = &mut self.cut {
            self.burned = epoch;
            cut.admission = Some(epoch);
        }
    }

    /// The owner changes, and what the monolith does not have is journalled with it.
    pub(super) fn flip_with(&mut self, exposure: Exposure) {
        self.flip();
        if let Some(cut) = &mut self.cut {
            cut.exposure.add(&exposure);
        }
        self.running().exposure = Some(exposure);
    }
}

impl Coordinator {
    /// A forced attempt waits until no lease of the service counts.
    pub(super) fn look_at_lapse(&mut self, now: Now) {
        if !self.leases.serving {
            self.enter(Stage::Freeze, now);
        }
    }

    /// The acknowledgements of a forced attempt: every gateway holds, has no write in flight, and has said
    /// what it acknowledged. Nothing of that can be left out, so it is waited for longer.
    pub(super) fn look_at_forced_acks(&mut self, now: Now) {
        let undrained = self.moving().intersection(&self.leases.undrained);
        let missing = if self.leases.acknowledged < self.version {
            self.leases.slowest.clone()
        } else {
            self.leases.unanswered.clone()
        };
        if missing.is_none() && undrained.is_empty() {
            // As they are now: a report that was sent earlier and comes later says less.
            self.told = (self.leases.answers.clone(), self.leases.gone.clone());
            self.asked = self.moving();
            self.gates.asked = true;
            return self.enter(Stage::Take, now);
        }
        if now.boot.since(self.entered) >= limits::FORCED_ACK_MAX {
            let gateway = missing.unwrap_or_else(|| "with a write in flight".into());
            self.restore(format!("gateway {gateway} has not said what it acknowledged"), now);
        }
    }

    pub(super) fn is_forced_attempt(&self) -> bool {
        self.durable.attempt.as_ref().is_some_and(|attempt| attempt.forced)
    }

    pub(super) fn cut(&mut self, owner_epoch: OwnerEpoch) {
        let (capability, buckets) = (self.start.capability.clone(), self.moving());
        self.call(Call::Cut(ReverseCut { capability, owner_epoch, buckets }));
    }

    /// Reverse is fenced: what the monolith does not have stays as it is from here on.
    pub(super) fn cut_off(&mut self, off: CutOff, now: Now) {
        let exposed = exposure(&self.moving(), off, (&self.told.0, &self.told.1));
        #[cfg(test)]
        let exposed = if plant::is(plant::Plant::HideExposure) { Exposure::default() } else { exposed };
        self.exposed = Some(exposed);
        self.enter(Stage::Flip, now);
    }

    /// A service that is given up opens nothing: what would open it is done when it is admitted again.
    pub(super) fn skip_barred(&mut self) {
        while self.durable.is_barred() && matches!(self.commands.front(), Some(Command::Open(..))) {
            self.commands.pop_front();
        }
    }

    /// A command that waits for a dead service waits no more.
    pub(super) fn give_up_on_service(&mut self, now: Now) {
        let waits = matches!(self.stage, Stage::Open | Stage::Undo)
            && matches!(self.commands.front(), Some(Command::Open(..)));
        if waits && self.durable.is_barred() {
            self.call = None;
            self.retry_at = None;
            self.emit(now);
        }
    }

    pub(super) fn begin_admission(&mut self, now: Now) {
        self.draft = prepare::Draft { to: Side::Service, ..prepare::Draft::default() };
        let burned = self.durable.cut.as_ref().is_some_and(|cut| cut.admission.is_some());
        self.enter(if burned { Stage::AdmitStatus } else { Stage::Admit }, now);
    }

    /// A wish to go back without the service ends what began before it and knows nothing of it: an admission,
    /// or an attempt of which nothing is held yet.
    pub(super) fn give_up_plans(&mut self, now: Now) {
        let is_stale = match self.stage {
            Stage::Admit
            | Stage::AdmitStatus
            | Stage::AdmitClose
            | Stage::AdmitReverse
            | Stage::AdmitVerify
            | Stage::Admitted => !self.durable.awaits_admission(),
            Stage::Status | Stage::Ownership | Stage::Freeze => self.is_draft_barred(),
            _ => false,
        };
        if is_stale {
            self.queue.retain(|purpose| matches!(purpose, Purpose::Wish(..)));
            self.enter(Stage::Idle(now.boot), now);
        }
    }

    /// Whether the service is given up, which the attempt that is prepared does not take into account.
    pub(super) fn is_draft_barred(&self) -> bool {
        self.durable.is_barred() && !self.draft.forced
    }

    pub(super) fn admission_status(&mut self, status: &SyncStatus, now: Now) {
        // What an earlier comparison found does not count: there will be another one.
        match prepare::unfit(status, Side::Monolith, &self.start.limits) {
            Some(cause) => self.refuse(cause, now),
            None => self.enter(Stage::AdmitClose, now),
        }
    }

    /// All buckets that are not the service's: whatever it believes, and whatever comes late.
    pub(super) fn close_for_admission(&mut self) {
        let Some(owner_epoch) = self.durable.cut.as_ref().and_then(|cut| cut.admission) else { return };
        let buckets = BucketSet::all().difference(&self.owned);
        let turn = self.turn(owner_epoch);
        self.call(Call::Close(OwnershipClose { turn, buckets, owner_epoch }));
    }

    pub(super) fn compared(&mut self, report: &VerifyReport, now: Now) {
        if report.mismatches == 0 {
            return self.enter(Stage::Admitted, now);
        }
        let cause = format!(
            "{} rows of the service differ from the monolith's; look at `banyan conflicts list`, or let it begin \
             with an empty database",
            report.mismatches
        );
        self.waiting.refuse(cause, now);
        self.enter(Stage::Idle(now.boot.plus(limits::ADMISSION_PAUSE)), now);
    }

    pub(super) fn cut_status(&self) -> Option<CutStatus> {
        self.durable.cut.as_ref().map(|cut| CutStatus {
            since_ms: cut.since_ms,
            by: cut.by.clone(),
            reason: cut.reason.clone(),
            readmitting: !cut.forced,
            exposure: cut.exposure.clone(),
        })
    }
}

/// What the monolith does not have of these buckets.
fn exposure(buckets: &BucketSet, off: CutOff, (answers, gone): (&[Answers], &[String])) -> Exposure {
    let CutOff { reversed, outbox, intents } = off;
    let mut exposure = Exposure { reversed, ..Exposure::default() };
    let missing = |write: &&AnsweredWrite| buckets.contains(write.bucket) && !write.is_in(&exposure.reversed);
    exposure.writes = answers.iter().flat_map(|a| &a.listed).filter(missing).cloned().collect();
    let mut writes: Vec<(Bucket, u64)> = Vec::new();
    match outbox {
        Some(events) => writes = events,
        None => {
            exposure.source = ExposureSource::Gateways;
            exposure.unheard = gone.to_vec();
            writes.extend(exposure.writes.iter().map(|write| (write.bucket, 1)));
            writes.extend(answers.iter().flat_map(|a| a.more.iter().copied()));
        }
    }
    let mut count = |of: Vec<(Bucket, u64)>, add: fn(&mut BucketExposure, u64)| {
        for (bucket, number) in
            of.into_iter().filter(|(bucket, number)| *number > 0 && buckets.contains(*bucket))
        {
            add(exposure.by_bucket.entry(bucket).or_default(), number);
        }
    };
    count(writes, |of, number| of.writes += number);
    count(intents, |of, number| of.intents += number);
    exposure
}

/// For the audit: the numbers in words, and everything as JSON.
pub(super) fn in_words(attempt: &Attempt) -> Option<String> {
    let exposure = attempt.exposure.as_ref()?;
    let BucketExposure { writes, intents } = exposure.total();
    let listed = serde_json::to_string(exposure).unwrap_or_default();
    Some(format!("exposed: {writes} writes, {intents} intents: {listed}"))
}

/// Bugs that tests plant, to see them caught.
#[cfg(test)]
pub(super) mod plant {
    use std::cell::Cell;

    #[derive(Clone, Copy, PartialEq, Eq)]
    pub enum Plant {
        /// A forced rollback says that nothing is exposed.
        HideExposure,
        /// Only a wish that waits keeps the service from a lease.
        BarByWish,
    }

    thread_local!(static PLANTED: Cell<Option<Plant>> = const { Cell::new(None) });

    pub fn is(plant: Plant) -> bool {
        PLANTED.get() == Some(plant)
    }

    pub fn with<T>(plant: Plant, run: impl FnOnce() -> T) -> T {
        PLANTED.set(Some(plant));
        let outcome = run();
        PLANTED.set(None);
        outcome
    }
}
