//! What users write. Every accepted write is one event with one activity row among its rows.

use super::{
    ACTIVITY, Action, Activity, Answer, Context, Event, EventKind, Flag, Kind, MailState, NOTIFICATIONS,
    Notification, Preferences, PreferencesChange, Record, Rejection, State, Write, rows,
};

/// Decides a user's write.
///
/// # Errors
/// The user has no such notification, or ids have run out.
pub fn decide(state: &State, write: &Write, context: &Context) -> Result<(Event, Answer), Rejection> {
    match &write.action {
        Action::Read(id) => read(state, (write, *id), context),
        Action::ReadAll => read_all(state, write, context),
        Action::Delete(id) => delete(state, (write, *id), context),
        Action::Remind { title, body } => remind(state, write, (title, body.as_deref()), context),
        Action::SetPreferences(change) => preferences(state, (write, change), context),
        Action::Unsubscribe => {
            let change = PreferencesChange { email_enabled: Some(Flag::NO), ..PreferencesChange::default() };
            preferences(state, (write, &change), context)
        }
    }
}

fn read(state: &State, (write, id): (&Write, u64), context: &Context) -> Result<(Event, Answer), Rejection> {
    let before = find(state, write.user, id)?;
    let mut rows = vec![activity(write, Some(id), context)?];
    let mut row = before.clone();
    if !row.is_read.is_set() {
        mark_read(&mut row, context);
        rows.push(Record::Notification(row.clone()));
    }
    let event = Event { kind: EventKind::Read, user: write.user, rows };
    Ok((event, Answer::Notification(Box::new(row))))
}

fn read_all(state: &State, write: &Write, context: &Context) -> Result<(Event, Answer), Rejection> {
    let mut rows = vec![activity(write, None, context)?];
    let unread =
        |row: &&Notification| row.user_id == write.user && row.deleted_at.is_none() && !row.is_read.is_set();
    let mut marked: Vec<Notification> = state.notifications.rows().filter(unread).cloned().collect();
    marked.sort_by_key(|row| row.id);
    marked.iter_mut().for_each(|row| mark_read(row, context));
    let updated = marked.len() as u64;
    rows.extend(marked.into_iter().map(Record::Notification));
    Ok((Event { kind: EventKind::AllRead, user: write.user, rows }, Answer::Updated(updated)))
}

fn mark_read(row: &mut Notification, context: &Context) {
    row.is_read = Flag::YES;
    row.read_at = Some(context.now.clone());
    row.updated_at.clone_from(&context.now);
}

fn delete(
    state: &State,
    (write, id): (&Write, u64),
    context: &Context,
) -> Result<(Event, Answer), Rejection> {
    let mut row = find(state, write.user, id)?.clone();
    row.deleted_at = Some(context.now.clone());
    row.updated_at.clone_from(&context.now);
    let rows = vec![activity(write, Some(id), context)?, Record::Notification(row)];
    Ok((Event { kind: EventKind::Deleted, user: write.user, rows }, Answer::Done))
}

fn remind(
    state: &State,
    write: &Write,
    (title, body): (&str, Option<&str>),
    context: &Context,
) -> Result<(Event, Answer), Rejection> {
    let id = context.notification_id.ok_or_else(|| Rejection::NoIds(NOTIFICATIONS.into()))?;
    let wanted = state.preferences.get(&write.user).is_none_or(|own| own.email_enabled.is_set());
    let row = Notification {
        id,
        user_id: write.user,
        kind: Kind::Reminder,
        title: title.into(),
        body: body.map(Into::into),
        data: None,
        priority: 0,
        is_read: Flag::NO,
        read_at: None,
        mail_state: if wanted { MailState::Pending } else { MailState::None },
        mailed_at: rows::ZERO_DATE.into(),
        created_at: context.now.clone(),
        updated_at: context.now.clone(),
        deleted_at: None,
    };
    let rows = vec![activity(write, Some(id), context)?, Record::Notification(row.clone())];
    let event = Event { kind: EventKind::Reminded, user: write.user, rows };
    Ok((event, Answer::Notification(Box::new(row))))
}

fn preferences(
    state: &State,
    (write, change): (&Write, &PreferencesChange),
    context: &Context,
) -> Result<(Event, Answer), Rejection> {
    let mut rows = vec![activity(write, None, context)?];
    let before = state.preferences.get(&write.user);
    let mut after = before.cloned().unwrap_or_else(|| Preferences::defaults(write.user, &context.now));
    set(&mut after, change);
    if before.is_none_or(|before| *before != after) {
        after.updated_at.clone_from(&context.now);
        rows.push(Record::Preferences(after.clone()));
    }
    let kind = match write.action {
        Action::Unsubscribe => EventKind::Unsubscribed,
        _ => EventKind::PreferencesChanged,
    };
    Ok((Event { kind, user: write.user, rows }, Answer::Preferences(after)))
}

fn set(row: &mut Preferences, change: &PreferencesChange) {
    let PreferencesChange { email_enabled, sms_enabled, digest, salutation, max_per_day, quiet_hours } =
        change;
    row.email_enabled = email_enabled.unwrap_or(row.email_enabled);
    row.sms_enabled = sms_enabled.unwrap_or(row.sms_enabled);
    row.digest = digest.unwrap_or(row.digest);
    row.max_per_day = max_per_day.unwrap_or(row.max_per_day);
    if let Some(salutation) = salutation {
        row.salutation.clone_from(salutation);
    }
    if let Some(quiet_hours) = quiet_hours {
        row.quiet_hours.clone_from(quiet_hours);
    }
}

/// A notification that its user can see.
fn find(state: &State, user: u64, id: u64) -> Result<&Notification, Rejection> {
    let seen = |row: &&Notification| row.user_id == user && row.deleted_at.is_none();
    state.notifications.get(&id).filter(seen).ok_or(Rejection::NotificationNotFound)
}

fn activity(write: &Write, notification: Option<u64>, context: &Context) -> Result<Record, Rejection> {
    let id = context.activity_id.ok_or_else(|| Rejection::NoIds(ACTIVITY.into()))?;
    Ok(Record::Activity(Activity {
        id,
        user_id: write.user,
        notification_id: notification,
        action: write.action.name().into(),
        client_ref: write.client_ref.clone(),
        created_at: context.now.clone(),
    }))
}
