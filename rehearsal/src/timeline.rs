//! What happened when: answers by second, where the migration stood, and what was done to the system.
//!
//! Kept for the report only; the scorecard counts for itself. Grows by four bytes a request and some hundred
//! a second, so that a day under load stays well below the memory of any machine that can rehearse.

use banyan_core::Side;
use banyan_core::protocol::migration::{HandoverOutcome, HandoverReport};
use banyan_runtime::clock;
use std::time::Instant;

use crate::load::record::{Done, Verdict};

/// The answers that came within one second.
#[derive(Clone, Debug, Default)]
pub struct Second {
    /// Latency of those that were answered as they should be, in milliseconds.
    pub ms: Vec<f32>,
    /// Requests that failed.
    pub failed: u32,
    /// Requests that failed for a fault that was made on purpose.
    pub failed_by_fault: u32,
    /// Requests that the gateway shed.
    pub shed: u32,
}

/// What the roles said at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moment {
    /// The share at the service, in percent.
    pub percent: f64,
    /// The share that was asked for.
    pub wanted_percent: f64,
    /// Lag of the monolith's changes at the service, in milliseconds.
    pub forward_lag_ms: u64,
    /// Lag of the service's changes at the monolith, in milliseconds.
    pub reverse_lag_ms: u64,
}

/// What a mark means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Another phase begins.
    Phase,
    /// Something was broken on purpose.
    Fault,
    /// It works again.
    Recovered,
}

/// Something that was done, or happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// When, in seconds since the load began.
    pub at_s: f64,
    /// What it means.
    pub kind: Kind,
    /// What it was.
    pub text: String,
}

/// A handover.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Handover {
    /// When it began, in seconds since the load began.
    pub at_s: f64,
    /// From freeze to release of the writes, in milliseconds.
    pub hold_ms: u64,
    /// How many buckets it moved.
    pub buckets: usize,
    /// Where to.
    pub to: Side,
    /// How it ended.
    pub outcome: HandoverOutcome,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Timeline {
    began: Instant,
    began_unix_ms: u64,
    /// Second by second.
    pub seconds: Vec<Second>,
    /// Where the migration stood: when, and what was said.
    pub moments: Vec<(f64, Moment)>,
    /// What was done.
    pub marks: Vec<Mark>,
    /// The handovers.
    pub handovers: Vec<Handover>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self {
            began: clock::instant(),
            began_unix_ms: clock::unix_ms(),
            seconds: Vec::new(),
            moments: Vec::new(),
            marks: Vec::new(),
            handovers: Vec::new(),
        }
    }
}

impl Timeline {
    /// Notes a finished request in the second in which it ended.
    pub fn note(&mut self, done: &Done, ms: f64) {
        let index = done.ended.saturating_duration_since(self.began).as_secs() as usize;
        if self.seconds.len() <= index {
            self.seconds.resize_with(index + 1, Second::default);
        }
        let second = &mut self.seconds[index];
        match done.verdict {
            Verdict::Good => second.ms.push(ms as f32),
            Verdict::Failed(_) => second.failed += 1,
            Verdict::FailedByProvider | Verdict::FailedWhileDown => second.failed_by_fault += 1,
            Verdict::Shed => second.shed += 1,
        }
    }

    /// Notes where the migration stands.
    pub fn stand(&mut self, moment: Moment) {
        self.moments.push((self.now_s(), moment));
    }

    /// Marks the present.
    pub fn mark(&mut self, kind: Kind, text: &str) {
        self.marks.push(Mark { at_s: self.now_s(), kind, text: text.to_owned() });
    }

    /// Takes over what control tells of the handovers.
    pub fn tell(&mut self, handovers: &[HandoverReport]) {
        let at_s = |h: &HandoverReport| (h.started_ms as f64 - self.began_unix_ms as f64) / 1000.0;
        let told = handovers.iter().map(|h| Handover {
            at_s: at_s(h).max(0.0),
            hold_ms: h.hold_ms,
            buckets: h.buckets.len(),
            to: h.to,
            outcome: h.outcome,
        });
        self.handovers = told.collect();
    }

    /// The last second of which anything is known.
    pub fn end_s(&self) -> f64 {
        let stands = self.moments.last().map_or(0.0, |(at_s, _)| *at_s);
        stands.max(self.seconds.len() as f64).max(1.0)
    }

    fn now_s(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}
