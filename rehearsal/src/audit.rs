//! The auditor: searches both sides for every write that the load side has sent.
//!
//! It shares no code with what it audits: it reads the monolith's tables by SQL, the service's file through
//! SQLite, and the provider's own list, and compares them with what customers were told. An acknowledged
//! write must be there exactly once on each side, with its effect; a refused one nowhere; one without an
//! answer at most once, and equally on both sides.

pub mod facts;
pub mod mails;
mod preferences;
pub mod read;

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

use crate::load::request::reminder_title;
use crate::load::writes::{Outcome, Wish, Write};
use facts::{Facts, Shop};

/// What the audit found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AuditReport {
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Writes whose outcome the customer was not told.
    pub unacknowledged: u64,
    /// Of those, how many were found.
    pub unacknowledged_found: u64,
    /// Acknowledged writes that are missing somewhere, or whose effect is.
    pub lost: u64,
    /// Writes that are somewhere more than once.
    pub doubled: u64,
    /// Refused writes that were found, and unacknowledged ones that only one side has.
    pub contradictions: u64,
    /// Each fault in words.
    pub faults: Vec<String>,
    /// The acknowledged writes that are missing somewhere, by token.
    #[serde(skip)]
    pub missing: BTreeSet<String>,
}

/// Everything that the auditor has read.
pub struct Evidence {
    /// The monolith's users and payments, and the provider's charges.
    pub shop: Shop,
    /// The capability's tables at the monolith.
    pub monolith: Facts,
    /// The same at the service.
    pub service: Facts,
}

/// How often a write was found in one place.
struct Found {
    place: &'static str,
    times: usize,
}

/// Compares what customers were told with what there is.
pub fn audit(writes: &[Write], evidence: &Evidence) -> AuditReport {
    let mut report = AuditReport::default();
    let (mut lost, mut doubled, mut contradictions) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for write in writes {
        let token = write.token.as_str();
        let found = evidence.search(write);
        let most = found.iter().map(|f| f.times).max().unwrap_or_default();
        let least = found.iter().map(|f| f.times).min().unwrap_or_default();
        let mut fault = |set: &mut BTreeSet<String>, what: &str| {
            let places: Vec<String> = found.iter().map(|f| format!("{} {}×", f.place, f.times)).collect();
            report.faults.push(format!("{token} ({}): {what}: {}", describe(&write.wish), places.join(", ")));
            set.insert(token.to_owned());
        };
        if most > 1 {
            fault(&mut doubled, "written more than once");
        }
        match write.outcome {
            Outcome::Acknowledged | Outcome::Declined if least == 0 => {
                fault(&mut lost, "acknowledged and missing");
                report.missing.insert(token.to_owned());
            }
            Outcome::Refused if most > 0 => fault(&mut contradictions, "refused, but done"),
            Outcome::Unknown if most != least => fault(&mut contradictions, "only partly done"),
            _ => {}
        }
        match write.outcome {
            Outcome::Acknowledged => report.acknowledged += 1,
            Outcome::Unknown => {
                report.unacknowledged += 1;
                report.unacknowledged_found += u64::from(most > 0);
            }
            Outcome::Declined | Outcome::Refused => {}
        }
        if write.outcome == Outcome::Acknowledged
            && let Err(cause) = evidence.effect(write)
        {
            report.faults.push(format!("{token} ({}): {cause}", describe(&write.wish)));
            lost.insert(token.to_owned());
        }
    }
    for (token, cause) in preferences::faults(writes, evidence) {
        report.faults.push(format!("{token} (preferences): {cause}"));
        lost.insert(token);
    }
    report.lost = lost.len() as u64;
    report.doubled = doubled.len() as u64;
    report.contradictions = contradictions.len() as u64;
    report
}

fn describe(wish: &Wish) -> String {
    match wish {
        Wish::Read(id) => format!("read {id}"),
        Wish::ReadAll(_) => "read all".into(),
        Wish::Delete(id) => format!("delete {id}"),
        Wish::Reminder(_) => "reminder".into(),
        Wish::Preferences(_) => "preferences".into(),
        Wish::Unsubscribe => "unsubscribe".into(),
        Wish::Payment => "payment".into(),
        Wish::Registration => "registration".into(),
    }
}

impl Evidence {
    /// Every place where a write must be, and how often it is there.
    fn search(&self, write: &Write) -> Vec<Found> {
        let user = self.shop.users.get(&write.email).copied();
        let mut found = Vec::new();
        let mut note = |place, times| found.push(Found { place, times });
        if let Some(action) = write.wish.action() {
            note("activity at the monolith", self.monolith.activities(&write.token, (user, action)));
            note("activity at the service", self.service.activities(&write.token, (user, action)));
        }
        match &write.wish {
            Wish::Reminder(_) => {
                let title = reminder_title(&write.token);
                note("row at the monolith", self.monolith.titled(&title));
                note("row at the service", self.service.titled(&title));
            }
            Wish::Payment => self.search_payment(write, &mut note),
            Wish::Registration => {
                note("users", usize::from(user.is_some()));
                let has =
                    |facts: &Facts| user.map_or(0, |id| usize::from(facts.preferences.contains_key(&id)));
                note("preferences at the monolith", has(&self.monolith));
                note("preferences at the service", has(&self.service));
            }
            _ => {}
        }
        found
    }

    fn search_payment(&self, write: &Write, note: &mut impl FnMut(&'static str, usize)) {
        let payments = self.shop.payments.get(&write.token).map(Vec::as_slice).unwrap_or_default();
        let captured = payments.iter().filter(|p| p.captured).count();
        match write.outcome {
            Outcome::Declined => return note("payments (failed)", payments.len() - captured),
            // Without an answer it may stand as failed; then nothing was captured.
            Outcome::Unknown if captured == 0 => return note("payments", payments.len().min(1)),
            _ => {}
        }
        note("payments", payments.len());
        note("captured payments", captured);
        note("bookings", payments.iter().map(|p| p.bookings).max().unwrap_or_default());
        note("charges at the provider", self.shop.charges.get(&write.token).copied().unwrap_or_default());
        note("notification at the monolith", self.monolith.referring(&write.token));
        note("notification at the service", self.service.referring(&write.token));
    }

    /// Whether an acknowledged write still shows.
    fn effect(&self, write: &Write) -> Result<(), String> {
        for (side, facts) in [("monolith", &self.monolith), ("service", &self.service)] {
            let row = |id: &u64| {
                facts.notifications.get(id).ok_or_else(|| format!("notification {id} is not at the {side}"))
            };
            match &write.wish {
                Wish::Read(id) if !row(id)?.is_read => return Err(format!("unread at the {side}")),
                Wish::Delete(id) if !row(id)?.deleted => return Err(format!("not deleted at the {side}")),
                Wish::ReadAll(ids) => {
                    for id in ids {
                        if !row(id)?.is_read {
                            return Err(format!("notification {id} is unread at the {side}"));
                        }
                    }
                }
                Wish::Reminder(Some(id)) if row(id)?.title != reminder_title(&write.token) => {
                    return Err(format!("notification {id} has another title at the {side}"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The first few of a long list of faults, with how many more there are.
pub fn shortened(faults: &[String], kept: usize) -> Vec<String> {
    let mut lines: Vec<String> = faults.iter().take(kept).cloned().collect();
    if faults.len() > kept {
        lines.push(format!("… and {} more", faults.len() - kept));
    }
    lines
}

/// How often each key occurs.
pub fn tally<K: Ord>(keys: impl Iterator<Item = K>) -> BTreeMap<K, usize> {
    let mut counts = BTreeMap::new();
    keys.for_each(|key| *counts.entry(key).or_default() += 1);
    counts
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
