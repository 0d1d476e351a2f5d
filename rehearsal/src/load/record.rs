//! What the load side saw: latencies by phase, failures with their reasons, and the account of writes.

use banyan_core::protocol::migration::Quantiles;
use banyan_runtime::quantiles::Samples;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::writes::Write;
use crate::progress::phase_name;
use crate::scorecard::RouteFigures;
use crate::timeline::{Kind, Timeline};

/// How far back the live figures look.
const WINDOW: Duration = Duration::from_secs(5);
/// Failures kept with their reasons; all are counted.
const FAILURES_KEPT_MAX: usize = 200;

/// A part of the run whose figures are kept apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Between measurements: caches and connections settle.
    #[default]
    Settling,
    /// The monolith alone.
    Before,
    /// Everything at the monolith, through the gateway.
    ThroughGateway,
    /// Rows are copied and compared.
    Copying,
    /// The cohort grows and shrinks.
    Rounds,
    /// The payment provider hangs.
    Outage,
    /// Everything at the service.
    After,
    /// Roles are killed one after the other.
    Recoveries,
    /// A crowd comes.
    Spike,
    /// The last rollback, and up again.
    Finale,
    /// Whatever a person at the keyboard asks for.
    ByHand,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should.
    Good,
    /// It should not have ended so.
    Failed(String),
    /// A payment that could not be made because the provider was out.
    FailedByProvider,
    /// It failed while a role was down that a person at the keyboard had killed.
    FailedWhileDown,
    /// Refused by the gateway during a spike, with 503 and `Retry-After`, before anything was done.
    Shed,
}

/// One finished request.
#[derive(Clone, Debug)]
pub struct Done {
    /// What it was, such as `POST /api/payments`.
    pub step: &'static str,
    /// Since when it was due.
    pub due: Instant,
    /// When it ended.
    pub ended: Instant,
    /// The phase in which it was due.
    pub phase: Phase,
    /// How it ended.
    pub verdict: Verdict,
    /// The write that it was, if it was one.
    pub write: Option<Write>,
}

/// A failed request.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// The phase in which it was due.
    pub phase: Phase,
    /// What it was.
    pub step: &'static str,
    /// Why it counts as failed.
    pub reason: String,
}

/// Live figures.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// The phase.
    pub phase: Phase,
    /// Requests so far.
    pub requests: u64,
    /// Failures so far.
    pub failed: u64,
    /// Payments failed by the provider so far.
    pub failed_by_provider: u64,
    /// Failures so far while a killed role was down.
    pub failed_while_down: u64,
    /// Requests shed so far.
    pub shed: u64,
    /// The last seconds' median, in milliseconds.
    pub p50_ms: f64,
    /// The last seconds' 99th percentile, in milliseconds.
    pub p99_ms: f64,
    /// Requests due that wait for a customer who is free.
    pub waiting: usize,
}

impl Live {
    /// Requests that were answered as they should be.
    pub fn good(&self) -> u64 {
        self.requests - self.failed - self.failed_by_provider - self.failed_while_down - self.shed
    }
}

#[derive(Default)]
struct Figures {
    phase: Phase,
    requests: u64,
    failed: u64,
    failed_by_provider: u64,
    failed_while_down: u64,
    shed: u64,
    waiting: usize,
    waiting_max: usize,
    by_phase: BTreeMap<Phase, Samples>,
    by_step: BTreeMap<&'static str, Samples>,
    failures: Vec<Failure>,
    writes: Vec<Write>,
    window: VecDeque<(Instant, f64)>,
    spike: (RouteFigures, RouteFigures),
    timeline: Timeline,
}

impl Figures {
    fn note_spike(&mut self, done: &Done, ms: f64) {
        let figures = if moves(done.step) { &mut self.spike.1 } else { &mut self.spike.0 };
        match done.verdict {
            Verdict::Good => {
                figures.answered += 1;
                figures.samples.record_ms(ms);
            }
            Verdict::Shed => figures.shed += 1,
            _ => figures.failed += 1,
        }
    }
}

/// Whether the capability has the route, so that the service answers it for the buckets that it owns.
fn moves(step: &str) -> bool {
    step.contains(" /api/notification")
        || step.starts_with("POST /notifications/")
        || step == "POST /unsubscribe"
}

/// The record; clones share it.
#[derive(Clone, Default)]
pub struct Record(Arc<Mutex<Figures>>);

impl Record {
    /// Forgets the time before: seconds of the timeline count from now on.
    pub fn begin(&self) {
        self.lock().timeline = Timeline::default();
    }

    /// Starts another phase: requests due from now on count there.
    pub fn enter(&self, phase: Phase) {
        let mut figures = self.lock();
        figures.phase = phase;
        figures.timeline.mark(Kind::Phase, phase_name(phase));
    }

    /// What happened when; to add to, too.
    pub fn timeline<R>(&self, act: impl FnOnce(&mut Timeline) -> R) -> R {
        act(&mut self.lock().timeline)
    }

    /// What became of requests that came during spikes: at the monolith's routes, and at the capability's.
    pub fn spike(&self) -> (RouteFigures, RouteFigures) {
        let mut spike = self.lock().spike.clone();
        for figures in [&mut spike.0, &mut spike.1] {
            figures.latency_ms = figures.samples.quantiles().into();
        }
        spike
    }

    /// The phase that runs.
    pub fn phase(&self) -> Phase {
        self.lock().phase
    }

    /// Notes how many due requests wait for a free customer.
    pub fn set_waiting(&self, waiting: usize) {
        let mut figures = self.lock();
        figures.waiting = waiting;
        figures.waiting_max = figures.waiting_max.max(waiting);
    }

    /// Notes a finished request.
    pub fn note(&self, done: Done) {
        let ms = (done.ended - done.due).as_secs_f64() * 1000.0;
        let mut figures = self.lock();
        figures.requests += 1;
        figures.timeline.note(&done, ms);
        if done.phase == Phase::Spike {
            figures.note_spike(&done, ms);
        }
        // A request that is refused at once would make the others look faster.
        if done.verdict != Verdict::Shed {
            figures.by_phase.entry(done.phase).or_default().record_ms(ms);
            figures.by_step.entry(done.step).or_default().record_ms(ms);
        }
        figures.window.push_back((done.ended, ms));
        while figures.window.front().is_some_and(|(at, _)| done.ended.duration_since(*at) > WINDOW) {
            figures.window.pop_front();
        }
        figures.writes.extend(done.write);
        match done.verdict {
            Verdict::Good => {}
            Verdict::FailedByProvider => figures.failed_by_provider += 1,
            Verdict::FailedWhileDown => figures.failed_while_down += 1,
            Verdict::Shed => figures.shed += 1,
            Verdict::Failed(reason) => {
                figures.failed += 1;
                if figures.failures.len() < FAILURES_KEPT_MAX {
                    figures.failures.push(Failure { phase: done.phase, step: done.step, reason });
                }
            }
        }
    }

    /// The live figures.
    pub fn live(&self) -> Live {
        let figures = self.lock();
        let mut window: Vec<f64> = figures.window.iter().map(|(_, ms)| *ms).collect();
        window.sort_by(f64::total_cmp);
        let at = |quantile: f64| {
            let index = (window.len() as f64 * quantile) as usize;
            window.get(index.min(window.len().saturating_sub(1))).copied().unwrap_or_default()
        };
        Live {
            phase: figures.phase,
            requests: figures.requests,
            failed: figures.failed,
            failed_by_provider: figures.failed_by_provider,
            failed_while_down: figures.failed_while_down,
            shed: figures.shed,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            waiting: figures.waiting,
        }
    }

    /// Latency of the requests that were due in a phase.
    pub fn latency(&self, phase: Phase) -> Quantiles {
        self.lock().by_phase.get(&phase).map(Samples::quantiles).unwrap_or_default()
    }

    /// Latency by kind of request, over the whole run.
    pub fn latency_by_step(&self) -> BTreeMap<&'static str, Quantiles> {
        self.lock().by_step.iter().map(|(step, samples)| (*step, samples.quantiles())).collect()
    }

    /// The most requests that ever waited for a free customer.
    pub fn waiting_max(&self) -> usize {
        self.lock().waiting_max
    }

    /// The failures, from the first on.
    pub fn failures(&self) -> Vec<Failure> {
        self.lock().failures.clone()
    }

    /// The failures since they were taken last.
    pub fn take_failures(&self) -> Vec<Failure> {
        std::mem::take(&mut self.lock().failures)
    }

    /// All writes so far.
    pub fn writes(&self) -> Vec<Write> {
        self.lock().writes.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_runtime::clock;

    #[test]
    fn latency_counts_from_when_a_request_was_due_and_belongs_to_that_phase() {
        let record = Record::default();
        let start = clock::instant();
        let done = |phase, ms: u64, verdict| Done {
            step: "GET /home",
            due: start,
            ended: start + Duration::from_millis(ms),
            phase,
            verdict,
            write: None,
        };
        record.note(done(Phase::Before, 100, Verdict::Good));
        record.note(done(Phase::Before, 300, Verdict::Failed("500".into())));
        record.note(done(Phase::After, 1, Verdict::FailedByProvider));
        let before = record.latency(Phase::Before);
        assert_eq!((before.count, before.p50.round(), before.max.round()), (2, 100.0, 300.0));
        let live = record.live();
        assert_eq!((live.requests, live.failed, live.failed_by_provider), (3, 1, 1));
        assert_eq!(record.failures()[0].reason, "500");
    }
}
