//! The SQL of the owned tables beside its row mapping.

use crate::domain::{Activity, Digest, Flag, Kind, MailState, Notification, Preferences, State, User};
use banyan_store::Fault;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

/// The columns of `notifications`, in the order of [`read_notification`].
pub const NOTIFICATION_COLUMNS: &str = "id, user_id, type, title, body, data, priority, is_read, read_at, \
     mail_state, mailed_at, created_at, updated_at, deleted_at";
/// The columns of `notification_preferences`, in the order of [`read_preferences`].
pub const PREFERENCES_COLUMNS: &str = "user_id, email_enabled, sms_enabled, digest, salutation, max_per_day, \
     quiet_hours, created_at, updated_at";
/// The columns of `notification_activity`, in the order of [`read_activity`].
pub const ACTIVITY_COLUMNS: &str = "id, user_id, notification_id, action, client_ref, created_at";

/// The number in a column.
pub fn id(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(index).map(i64::cast_unsigned)
}

fn label<T>(row: &Row<'_>, index: usize, from_label: fn(&str) -> Option<T>) -> rusqlite::Result<T> {
    let text: String = row.get(index)?;
    let unknown = || rusqlite::Error::InvalidColumnName(format!("label {text}"));
    from_label(&text).ok_or_else(unknown)
}

/// Reads a row of [`NOTIFICATION_COLUMNS`].
pub fn read_notification(row: &Row<'_>) -> rusqlite::Result<Notification> {
    Ok(Notification {
        id: id(row, 0)?,
        user_id: id(row, 1)?,
        kind: label(row, 2, Kind::from_label)?,
        title: row.get(3)?,
        body: row.get(4)?,
        data: row.get(5)?,
        priority: row.get(6)?,
        is_read: Flag(row.get(7)?),
        read_at: row.get(8)?,
        mail_state: label(row, 9, MailState::from_label)?,
        mailed_at: row.get(10)?,
        created_at: row.get(11)?,
        updated_at: row.get(12)?,
        deleted_at: row.get(13)?,
    })
}

/// Reads a row of [`PREFERENCES_COLUMNS`].
pub fn read_preferences(row: &Row<'_>) -> rusqlite::Result<Preferences> {
    Ok(Preferences {
        user_id: id(row, 0)?,
        email_enabled: Flag(row.get(1)?),
        sms_enabled: Flag(row.get(2)?),
        digest: label(row, 3, Digest::from_label)?,
        salutation: row.get(4)?,
        max_per_day: id(row, 5)?,
        quiet_hours: row.get(6)?,
        created_at: row.get(7)?,
        updated_at: row.get(8)?,
    })
}

/// Reads a row of [`ACTIVITY_COLUMNS`].
pub fn read_activity(row: &Row<'_>) -> rusqlite::Result<Activity> {
    Ok(Activity {
        id: id(row, 0)?,
        user_id: id(row, 1)?,
        notification_id: row.get::<_, Option<i64>>(2)?.map(i64::cast_unsigned),
        action: row.get(3)?,
        client_ref: row.get(4)?,
        created_at: row.get(5)?,
    })
}

/// Reads `id, name, email, deleted_at`.
pub fn read_user(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User { id: id(row, 0)?, name: row.get(1)?, email: row.get(2)?, deleted_at: row.get(3)? })
}

/// One notification.
pub fn notification(db: &Connection, key: u64) -> Result<Option<Notification>, Fault> {
    let sql = format!("SELECT {NOTIFICATION_COLUMNS} FROM notifications WHERE id = ?");
    Ok(db.prepare_cached(&sql)?.query_row([key.cast_signed()], read_notification).optional()?)
}

/// The unread notifications of a user.
pub fn unread(db: &Connection, user: u64) -> Result<Vec<Notification>, Fault> {
    let sql = format!(
        "SELECT {NOTIFICATION_COLUMNS} FROM notifications
         WHERE user_id = ? AND deleted_at IS NULL AND is_read = 0"
    );
    let mut select = db.prepare_cached(&sql)?;
    let rows = select.query_map([user.cast_signed()], read_notification)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The preferences of a user.
pub fn preferences(db: &Connection, user: u64) -> Result<Option<Preferences>, Fault> {
    let sql = format!("SELECT {PREFERENCES_COLUMNS} FROM notification_preferences WHERE user_id = ?");
    Ok(db.prepare_cached(&sql)?.query_row([user.cast_signed()], read_preferences).optional()?)
}

/// One activity.
pub fn activity(db: &Connection, key: u64) -> Result<Option<Activity>, Fault> {
    let sql = format!("SELECT {ACTIVITY_COLUMNS} FROM notification_activity WHERE id = ?");
    Ok(db.prepare_cached(&sql)?.query_row([key.cast_signed()], read_activity).optional()?)
}

/// One user.
pub fn user(db: &Connection, key: u64) -> Result<Option<User>, Fault> {
    let mut select = db.prepare_cached("SELECT id, name, email, deleted_at FROM users WHERE id = ?")?;
    Ok(select.query_row([key.cast_signed()], read_user).optional()?)
}

/// How many mails of a user were sent since a local time.
pub fn sent_since(db: &Connection, user: u64, since: &str) -> Result<u64, Fault> {
    let mut select = db.prepare_cached(
        "SELECT COUNT(*) FROM notifications WHERE user_id = ? AND mail_state = 'sent' AND mailed_at >= ?
             AND deleted_at IS NULL",
    )?;
    Ok(select.query_row(params![user.cast_signed(), since], |row| id(row, 0))?)
}

/// Notifications and users of the mails that this service is sending.
pub fn claims(db: &Connection) -> Result<Vec<(u64, u64)>, Fault> {
    let mut select = db.prepare_cached("SELECT notification_id, user_id FROM mail_claims")?;
    let rows = select.query_map([], |row| Ok((id(row, 0)?, id(row, 1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The trace of a notification whose mail is awaited.
pub fn trace(db: &Connection, key: u64) -> Result<Option<String>, Fault> {
    let mut select = db.prepare_cached("SELECT traceparent FROM mail_traces WHERE notification_id = ?")?;
    Ok(select.query_row([key.cast_signed()], |row| row.get(0)).optional()?)
}

/// Writes all changed rows.
pub fn save(db: &Connection, state: &State) -> Result<(), Fault> {
    for (key, row) in state.notifications.changed() {
        save_notification(db, *key, row)?;
    }
    for (key, row) in state.preferences.changed() {
        save_preferences(db, *key, row)?;
    }
    for (key, row) in state.activity.changed() {
        save_activity(db, *key, row)?;
    }
    for (key, row) in state.users.changed() {
        match row {
            Some(User { id, name, email, deleted_at }) => db
                .prepare_cached("INSERT OR REPLACE INTO users VALUES (?, ?, ?, ?)")?
                .execute(params![id.cast_signed(), name, email, deleted_at])?,
            None => delete(db, "DELETE FROM users WHERE id = ?", *key)?,
        };
    }
    for (key, user) in state.claims.changed() {
        match user {
            Some(user) => db
                .prepare_cached("INSERT OR REPLACE INTO mail_claims VALUES (?, ?)")?
                .execute(params![key.cast_signed(), user.cast_signed()])?,
            None => delete(db, "DELETE FROM mail_claims WHERE notification_id = ?", *key)?,
        };
    }
    save_traces(db, state)
}

/// A trace is kept as long as a mail is awaited.
fn save_traces(db: &Connection, state: &State) -> Result<(), Fault> {
    let awaits_mail = |row: Option<&Notification>| row.is_some_and(Notification::awaits_mail);
    for (key, trace) in state.traces.changed() {
        if let Some(trace) = trace {
            db.prepare_cached("INSERT OR REPLACE INTO mail_traces VALUES (?, ?)")?
                .execute(params![key.cast_signed(), trace])?;
        }
    }
    for (key, _) in state.notifications.changed().filter(|(_, row)| !awaits_mail(*row)) {
        delete(db, "DELETE FROM mail_traces WHERE notification_id = ?", *key)?;
    }
    Ok(())
}

fn delete(db: &Connection, sql: &str, key: u64) -> Result<usize, Fault> {
    Ok(db.prepare_cached(sql)?.execute([key.cast_signed()])?)
}

fn save_notification(db: &Connection, key: u64, row: Option<&Notification>) -> Result<(), Fault> {
    let Some(row) = row else {
        return delete(db, "DELETE FROM notifications WHERE id = ?", key).map(|_| ());
    };
    db.prepare_cached(
        "INSERT INTO notifications (id, user_id, type, title, body, data, priority, is_read, read_at,
             mail_state, mailed_at, created_at, updated_at, deleted_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET user_id = excluded.user_id, type = excluded.type,
             title = excluded.title, body = excluded.body, data = excluded.data,
             priority = excluded.priority, is_read = excluded.is_read, read_at = excluded.read_at,
             mail_state = excluded.mail_state, mailed_at = excluded.mailed_at,
             created_at = excluded.created_at, updated_at = excluded.updated_at,
             deleted_at = excluded.deleted_at",
    )?
    .execute(params![
        row.id.cast_signed(),
        row.user_id.cast_signed(),
        row.kind.as_str(),
        row.title,
        row.body,
        row.data,
        row.priority,
        row.is_read.0,
        row.read_at,
        row.mail_state.as_str(),
        row.mailed_at,
        row.created_at,
        row.updated_at,
        row.deleted_at,
    ])?;
    Ok(())
}

fn save_preferences(db: &Connection, key: u64, row: Option<&Preferences>) -> Result<(), Fault> {
    let Some(row) = row else {
        return delete(db, "DELETE FROM notification_preferences WHERE user_id = ?", key).map(|_| ());
    };
    db.prepare_cached("INSERT OR REPLACE INTO notification_preferences VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")?
        .execute(params![
            row.user_id.cast_signed(),
            row.email_enabled.0,
            row.sms_enabled.0,
            row.digest.as_str(),
            row.salutation,
            row.max_per_day.cast_signed(),
            row.quiet_hours,
            row.created_at,
            row.updated_at,
        ])?;
    Ok(())
}

fn save_activity(db: &Connection, key: u64, row: Option<&Activity>) -> Result<(), Fault> {
    let Some(row) = row else {
        return delete(db, "DELETE FROM notification_activity WHERE id = ?", key).map(|_| ());
    };
    db.prepare_cached("INSERT OR REPLACE INTO notification_activity VALUES (?, ?, ?, ?, ?, ?)")?.execute(
        params![
            row.id.cast_signed(),
            row.user_id.cast_signed(),
            row.notification_id.map(u64::cast_signed),
            row.action,
            row.client_ref,
            row.created_at,
        ],
    )?;
    Ok(())
}
