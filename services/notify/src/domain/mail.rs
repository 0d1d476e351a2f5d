//! One notification, one mail: who may send it, and what became of it.
//!
//! A mail is claimed before it is sent, by a marker that is this service's alone; it is sent by whoever has
//! claimed it or by nobody. What was claimed and is not known to be sent becomes `failed`, never `pending`.

use super::{
    Answer, Context, Event, EventKind, Mail, MailOutcome, MailState, Notification, Preferences, Record,
    Rejection, State,
};
use banyan_core::{Bucket, BucketSet};

/// Decides whether the mail of a notification is sent now.
///
/// # Errors
/// It is not due, or another mail of the user is being sent: how many were sent today is not known then.
pub fn claim(state: &State, (id, user): (u64, u64), context: &Context) -> Result<(Event, Answer), Rejection> {
    let due = |row: &&Notification| {
        row.user_id == user && row.mail_state == MailState::Pending && row.deleted_at.is_none()
    };
    let row = state.notifications.get(&id).filter(due).ok_or(Rejection::MailNotDue)?;
    if state.claims.rows().any(|in_flight| *in_flight == user) {
        return Err(Rejection::MailInFlight);
    }
    let preferences = state.preferences.get(&user).cloned();
    let preferences = preferences.unwrap_or_else(|| Preferences::defaults(user, &context.now));
    let sent = state.sent_today.get(&user).copied().unwrap_or_default();
    let recipient = state.users.get(&user).filter(|user| user.deleted_at.is_none());
    let mut row = row.clone();
    match recipient {
        Some(recipient) if sent < preferences.max_per_day => {
            let name = preferences.salutation.unwrap_or_else(|| recipient.name.clone());
            let mail = Mail {
                notification: id,
                to: recipient.email.clone(),
                salutation: format!("Hello {name}"),
                title: row.title.clone(),
                body: row.body.clone(),
                traceparent: state.trace_of(id).map(Into::into),
            };
            row.mail_state = MailState::Claimed;
            Ok((event(EventKind::MailClaimed, row), Answer::Claimed(Box::new(mail))))
        }
        _ => {
            row.mail_state = MailState::Skipped;
            Ok((event(EventKind::MailSettled, row), Answer::Skipped))
        }
    }
}

/// Records what became of a mail that was claimed here.
///
/// # Errors
/// It was not claimed here, or was settled already.
pub fn record(
    state: &State,
    (id, outcome): (u64, MailOutcome),
    context: &Context,
) -> Result<(Event, Answer), Rejection> {
    let mut row = claimed(state, id).ok_or(Rejection::MailNotDue)?.clone();
    row.mail_state = match outcome {
        MailOutcome::Sent => MailState::Sent,
        MailOutcome::Failed => MailState::Failed,
        MailOutcome::NotTaken => MailState::Pending,
    };
    if outcome == MailOutcome::Sent {
        row.mailed_at.clone_from(&context.now);
    }
    Ok((event(EventKind::MailSettled, row), Answer::Done))
}

/// What has to be settled before these buckets are closed: mails whose sending was not waited for.
pub fn give_up(state: &State, buckets: &BucketSet) -> Vec<Event> {
    let mut given_up: Vec<u64> = state
        .claims
        .entries()
        .filter(|(_, user)| buckets.contains(Bucket::of(&user.to_string())))
        .map(|(id, _)| *id)
        .collect();
    given_up.sort_unstable();
    let failed = |id| {
        let mut row = claimed(state, id)?.clone();
        row.mail_state = MailState::Failed;
        Some(event(EventKind::MailSettled, row))
    };
    given_up.into_iter().filter_map(failed).collect()
}

/// The notification, where this service has claimed its mail.
fn claimed(state: &State, id: u64) -> Option<&Notification> {
    state.claims.get(&id)?;
    state.notifications.get(&id).filter(|row| row.mail_state == MailState::Claimed)
}

fn event(kind: EventKind, row: Notification) -> Event {
    Event { kind, user: row.user_id, rows: vec![Record::Notification(row)] }
}
