//! What a rehearsal must keep to.

use serde::Serialize;

use super::Scorecard;
use crate::options::{Schedule, Times};

/// A hold may last this much longer than the slowest write that it had to wait for.
const HOLD_OVER_DRAIN_MS: f64 = 100.0;
/// A rollback of the whole cohort, from the command to the last bucket back.
const ROLLBACK_MS_MAX: f64 = 2000.0;

/// One bound.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bound {
    /// The figure that is bounded, as the JSON names it.
    pub name: String,
    /// What was measured.
    pub value: f64,
    /// What is allowed.
    pub limit: Limit,
    /// Whether it holds; `None` where it was only to be reported.
    pub holds: Option<bool>,
}

/// What is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Not more than this.
    AtMost(f64),
    /// Not less than this.
    AtLeast(f64),
}

impl Bound {
    fn new(name: &str, value: f64, limit: Limit) -> Self {
        let holds = match limit {
            Limit::AtMost(most) => value <= most,
            Limit::AtLeast(least) => value >= least,
        };
        Self { name: name.to_owned(), value, limit, holds: Some(holds) }
    }

    /// The limit in words.
    pub fn allowed(&self) -> String {
        match self.limit {
            Limit::AtMost(most) => format!("at most {most}"),
            Limit::AtLeast(least) => format!("at least {least}"),
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verb = match self.limit {
            Limit::AtMost(_) => "allowed is",
            Limit::AtLeast(_) => "wanted are",
        };
        write!(f, "{} is {}, {verb} {}", self.name, self.value, self.allowed())
    }
}

impl Scorecard {
    /// Compares with the bounds; fills `bounds`, `passed` and `broken`.
    pub fn judge(&mut self, schedule: &Schedule) {
        let mut bounds = self.bounds_of_writes();
        let mut times = self.bounds_of_times();
        if schedule.times == Times::Reported {
            times.iter_mut().for_each(|bound| bound.holds = None);
        }
        bounds.extend(times);
        bounds.extend(self.bounds_of_course(schedule));
        let broken = bounds.iter().filter(|bound| bound.holds == Some(false)).map(Bound::to_string);
        self.broken = broken.chain(self.problems.iter().cloned()).collect();
        self.passed = self.broken.is_empty();
        self.bounds = bounds;
    }

    fn bounds_of_writes(&self) -> Vec<Bound> {
        let none = |(name, value): (&str, u64)| Bound::new(name, value as f64, Limit::AtMost(0.0));
        let mut wanted = vec![
            ("failed", self.failed),
            ("writes_lost", self.writes_lost),
            ("writes_doubled", self.writes_doubled),
            ("mails_doubled", self.mails_doubled),
            ("verify.mismatches", self.verify.mismatches),
            ("audit.contradictions", self.audit.contradictions),
            ("mails.missing", self.mails.missing),
            ("mails.unexplained", self.mails.unexplained),
            ("mails.unsent", self.mails.unsent),
        ];
        if let Some(spike) = self.spike.as_ref().filter(|spike| spike.all_at_service) {
            wanted.push(("spike.service.shed", spike.service.shed));
        }
        let mut bounds: Vec<Bound> = wanted.into_iter().map(none).collect();
        // Who is killed between sending a mail and noting it leaves both open; nothing is sent twice for it.
        if self.recoveries.iter().any(|recovery| recovery.fault.ends_with(" notify")) {
            let open = ["mails.unexplained", "mails.unsent"];
            let of_mails = bounds.iter_mut().filter(|bound| open.contains(&bound.name.as_str()));
            of_mails.for_each(|bound| bound.holds = None);
        }
        bounds
    }

    fn bounds_of_times(&self) -> Vec<Bound> {
        let hold_max = self.drained_write_ms_max + HOLD_OVER_DRAIN_MS;
        vec![
            Bound::new("hold_ms.p99", self.hold_ms.p99, Limit::AtMost(hold_max)),
            Bound::new("rollback_ms.max", self.rollback_ms.max, Limit::AtMost(ROLLBACK_MS_MAX)),
        ]
    }

    fn bounds_of_course(&self, schedule: &Schedule) -> Vec<Bound> {
        let mut wanted = vec![
            ("requests", self.requests, schedule.requests_min),
            ("writes_acknowledged", self.writes_acknowledged, schedule.writes_min),
            ("handovers", self.handovers, schedule.handovers_min),
            ("verify.rows_compared", self.verify.rows_compared, 1),
            ("rollbacks_ms", self.rollbacks_ms.len() as u64, schedule.rollbacks_min),
        ];
        if let Some(outage) = &self.outage {
            wanted.extend([
                ("outage.stragglers", outage.stragglers.len() as u64, 1),
                ("outage.buckets_moved", outage.buckets_moved, 1),
                ("outage.followed", u64::from(outage.followed_ms.is_some()), 1),
                ("failed_by_provider", self.failed_by_provider, 1),
            ]);
        }
        let least = |(name, value, least)| Bound::new(name, value as f64, Limit::AtLeast(least as f64));
        wanted.into_iter().map(least).collect()
    }
}
