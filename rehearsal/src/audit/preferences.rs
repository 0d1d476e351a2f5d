//! Preferences: the last acknowledged write of each field must stand, on both sides.

use std::collections::BTreeMap;

use super::Evidence;
use super::facts::PreferencesRow;
use crate::load::writes::{Outcome, Preferences, Wish, Write};

/// What a customer's writes, in order, should have led to, and the last of them.
#[derive(Default)]
struct Expected<'w> {
    fields: Preferences,
    last: &'w str,
}

/// The writes whose effect does not stand, each with the reason.
pub fn faults(writes: &[Write], evidence: &Evidence) -> Vec<(String, String)> {
    let mut by_customer: BTreeMap<&str, Expected> = BTreeMap::new();
    for write in writes {
        let wanted = match &write.wish {
            Wish::Preferences(wanted) => wanted.clone(),
            Wish::Unsubscribe => Preferences { email_enabled: Some(false), ..Preferences::default() },
            _ => continue,
        };
        let expected = by_customer.entry(&write.email).or_default();
        match write.outcome {
            Outcome::Acknowledged => {
                expected.fields.overlay(&wanted);
                expected.last = &write.token;
            }
            // It may have taken effect, then or later: from here on nothing is certain.
            Outcome::Unknown => *expected = Expected::default(),
            Outcome::Declined | Outcome::Refused => {}
        }
    }
    let mut faults = Vec::new();
    for (email, expected) in by_customer.iter().filter(|(_, expected)| !expected.last.is_empty()) {
        let user = evidence.shop.users.get(*email).copied();
        for (side, facts) in [("monolith", &evidence.monolith), ("service", &evidence.service)] {
            let row = user.and_then(|id| facts.preferences.get(&id));
            let fault =
                row.map_or(Some("the row is missing".into()), |row| difference(&expected.fields, row));
            if let Some(fault) = fault {
                faults.push((expected.last.to_owned(), format!("{email} at the {side}: {fault}")));
            }
        }
    }
    faults
}

fn difference(wanted: &Preferences, row: &PreferencesRow) -> Option<String> {
    let differs = |name: &str, wanted: Option<String>, stands: String| {
        wanted.filter(|wanted| *wanted != stands).map(|wanted| format!("{name} is {stands}, not {wanted}"))
    };
    let text = |value: Option<bool>| value.map(|v| v.to_string());
    differs("email_enabled", text(wanted.email_enabled), row.email_enabled.to_string())
        .or_else(|| differs("sms_enabled", text(wanted.sms_enabled), row.sms_enabled.to_string()))
        .or_else(|| differs("digest", wanted.digest.map(Into::into), row.digest.clone()))
        .or_else(|| {
            differs(
                "salutation",
                wanted.salutation.map(Into::into),
                row.salutation.clone().unwrap_or_default(),
            )
        })
        .or_else(|| {
            differs("max_per_day", wanted.max_per_day.map(|m| m.to_string()), row.max_per_day.to_string())
        })
}
