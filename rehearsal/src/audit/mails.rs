//! One notification, one mail: the mails that arrived against what both sides say was sent.

use serde::Serialize;
use std::collections::BTreeMap;

use super::facts::Facts;
use super::tally;

/// What the audit of the mails found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MailReport {
    /// Mails that arrived.
    pub arrived: u64,
    /// Mails beyond the first of a notification.
    pub doubled: u64,
    /// Notifications marked as sent without a mail.
    pub missing: u64,
    /// Mails of notifications that are not marked as sent, and mails of nothing.
    pub unexplained: u64,
    /// Notifications whose mail was still to be sent at the end.
    pub unsent: u64,
    /// Each fault in words.
    pub faults: Vec<String>,
}

/// Compares the mails, given by the notification that each names, with the notifications made since
/// `first_id`; older ones were seeded with states of mails that were never sent here.
pub fn audit(mails: &[Option<u64>], facts: &Facts, first_id: u64) -> MailReport {
    let mut report = MailReport { arrived: mails.len() as u64, ..MailReport::default() };
    let by_notification: BTreeMap<u64, usize> = tally(mails.iter().flatten().copied());
    let nameless = mails.iter().filter(|mail| mail.is_none()).count();
    if nameless > 0 {
        report.unexplained += nameless as u64;
        report.faults.push(format!("{nameless} mails name no notification"));
    }
    for (id, times) in &by_notification {
        if *times > 1 {
            report.doubled += *times as u64 - 1;
            report.faults.push(format!("notification {id} was mailed {times} times"));
        }
        let state = facts.notifications.get(id).map_or("no row", |n| n.mail_state.as_str());
        if state != "sent" {
            report.unexplained += 1;
            report.faults.push(format!("notification {id} was mailed, but its mail_state is: {state}"));
        }
    }
    for (id, notification) in facts.notifications.range(first_id..) {
        match notification.mail_state.as_str() {
            "sent" if !by_notification.contains_key(id) => {
                report.missing += 1;
                report.faults.push(format!("notification {id} is marked as sent, but no mail arrived"));
            }
            "pending" | "claimed" if !notification.deleted => {
                report.unsent += 1;
                report.faults.push(format!("notification {id} is still {}", notification.mail_state));
            }
            _ => {}
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::super::facts::Notification;
    use super::*;

    fn facts(states: &[(u64, &str)]) -> Facts {
        let row = |state: &str| Notification { mail_state: state.into(), ..Notification::default() };
        let notifications = states.iter().map(|(id, state)| (*id, row(state))).collect();
        Facts { notifications, ..Facts::default() }
    }

    fn check(mails: &[u64], states: &[(u64, &str)]) -> (u64, u64, u64, u64) {
        let mails: Vec<Option<u64>> = mails.iter().copied().map(Some).collect();
        let report = audit(&mails, &facts(states), 10);
        let found = (report.doubled, report.missing, report.unexplained, report.unsent);
        assert_eq!(report.faults.is_empty(), found == (0, 0, 0, 0));
        found
    }

    #[test]
    fn each_sent_notification_has_exactly_one_mail() {
        assert_eq!(check(&[10, 11], &[(1, "sent"), (10, "sent"), (11, "sent"), (12, "none")]), (0, 0, 0, 0));
        assert_eq!(check(&[10, 10, 10], &[(10, "sent")]), (2, 0, 0, 0));
        assert_eq!(check(&[], &[(10, "sent")]), (0, 1, 0, 0));
        assert_eq!(check(&[10, 12], &[(10, "failed")]), (0, 0, 2, 0));
        assert_eq!(check(&[], &[(10, "pending"), (11, "claimed")]), (0, 0, 0, 2));
    }

    #[test]
    fn a_mail_without_a_notification_is_a_fault() {
        assert_eq!(audit(&[None], &facts(&[]), 1).unexplained, 1);
    }
}
