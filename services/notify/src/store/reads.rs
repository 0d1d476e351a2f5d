//! Reads that bypass the shell: lists for users, rows for verification, candidates for the mail worker.

use super::rows::{
    ACTIVITY_COLUMNS, NOTIFICATION_COLUMNS, PREFERENCES_COLUMNS, id, read_activity, read_notification,
    read_preferences, read_user,
};
use crate::domain::{
    ACTIVITY, NOTIFICATIONS, Notification, PREFERENCES, Preferences, Record, TABLES, USERS, User,
};
use crate::legacy::columns;
use banyan_core::Row;
use banyan_core::protocol::target::RowsPage;
use banyan_store::{Fault, import};
use rusqlite::{Connection, Params, params};

/// Notifications per page.
pub const PER_PAGE: u64 = 20;
/// The highest page.
pub const PAGE_MAX: u64 = 1_000_000;
/// The most rows of one page of verification.
pub const ROWS_MAX: usize = 5000;

/// A page of a user's notifications.
#[derive(Debug)]
pub struct ListPage {
    /// The rows, newest first.
    pub rows: Vec<Notification>,
    /// How many there are on all pages.
    pub total: u64,
    /// How many are unread.
    pub unread: u64,
}

/// Whether every table has been copied: before that, nothing can be told about a user.
///
/// # Errors
/// The database fails.
pub fn is_copied(db: &Connection) -> Result<bool, Fault> {
    import::is_copied(db, &TABLES)
}

/// A page of a user's notifications, from 1 on; only unread ones where asked for.
///
/// # Errors
/// The database fails.
pub fn list(db: &Connection, (user, only_unread): (u64, bool), page: u64) -> Result<ListPage, Fault> {
    let condition = if only_unread { " AND is_read = 0" } else { "" };
    let sql = format!(
        "SELECT {NOTIFICATION_COLUMNS} FROM notifications WHERE user_id = ? AND deleted_at IS NULL{condition}
         ORDER BY id DESC LIMIT ? OFFSET ?"
    );
    let offset = page.clamp(1, PAGE_MAX).saturating_sub(1) * PER_PAGE;
    let limits = params![user.cast_signed(), PER_PAGE.cast_signed(), offset.cast_signed()];
    let rows = collect(db, &sql, limits, read_notification)?;
    let unread = unread(db, user)?;
    let total = if only_unread { unread } else { count(db, user)? };
    Ok(ListPage { rows, total, unread })
}

fn count(db: &Connection, user: u64) -> Result<u64, Fault> {
    let sql = "SELECT COUNT(*) FROM notifications WHERE user_id = ? AND deleted_at IS NULL";
    Ok(db.prepare_cached(sql)?.query_row([user.cast_signed()], |row| id(row, 0))?)
}

/// How many notifications a user has not read.
///
/// # Errors
/// The database fails.
pub fn unread(db: &Connection, user: u64) -> Result<u64, Fault> {
    let sql = "SELECT COUNT(*) FROM notifications WHERE user_id = ? AND deleted_at IS NULL AND is_read = 0";
    Ok(db.prepare_cached(sql)?.query_row([user.cast_signed()], |row| id(row, 0))?)
}

/// The preferences of a user, where there is a row.
///
/// # Errors
/// The database fails.
pub fn preferences(db: &Connection, user: u64) -> Result<Option<Preferences>, Fault> {
    super::rows::preferences(db, user)
}

/// A user.
///
/// # Errors
/// The database fails.
pub fn user(db: &Connection, user: u64) -> Result<Option<User>, Fault> {
    super::rows::user(db, user)
}

/// Rows of a table in the monolith's shape, above a key; `None` where there is no such table.
///
/// # Errors
/// The database fails.
pub fn page(db: &Connection, table: &str, (after, limit): (u64, usize)) -> Result<Option<RowsPage>, Fault> {
    let limit = limit.clamp(1, ROWS_MAX);
    let Some(columns) = (match table {
        NOTIFICATIONS => Some(NOTIFICATION_COLUMNS),
        PREFERENCES => Some(PREFERENCES_COLUMNS),
        ACTIVITY => Some(ACTIVITY_COLUMNS),
        USERS => Some("id, name, email, deleted_at"),
        _ => None,
    }) else {
        return Ok(None);
    };
    let key = columns::key_column(table);
    let sql = format!("SELECT {columns} FROM {table} WHERE {key} > ? ORDER BY {key} LIMIT ?");
    // One more than asked for tells whether there are more.
    let bounds = params![after.min(i64::MAX.cast_unsigned()).cast_signed(), limit as i64 + 1];
    let mut rows: Vec<Row> = collect(db, &sql, bounds, |row| {
        Ok(match table {
            NOTIFICATIONS => columns::row_of(&Record::Notification(read_notification(row)?)).1,
            PREFERENCES => columns::row_of(&Record::Preferences(read_preferences(row)?)).1,
            ACTIVITY => columns::row_of(&Record::Activity(read_activity(row)?)).1,
            _ => columns::user_row(&read_user(row)?),
        })
    })?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    Ok(Some(RowsPage { rows, more }))
}

/// Notifications whose mail is pending, above an id: id and user, at most `limit`.
///
/// # Errors
/// The database fails.
pub fn pending(db: &Connection, after: u64, limit: usize) -> Result<Vec<(u64, u64)>, Fault> {
    let sql = "SELECT id, user_id FROM notifications
               WHERE mail_state = 'pending' AND deleted_at IS NULL AND id > ? ORDER BY id LIMIT ?";
    collect(db, sql, params![after.cast_signed(), limit as i64], |row| Ok((id(row, 0)?, id(row, 1)?)))
}

/// Notifications and users of mails that this service has claimed.
///
/// # Errors
/// The database fails.
pub fn claims(db: &Connection) -> Result<Vec<(u64, u64)>, Fault> {
    super::rows::claims(db)
}

fn collect<T>(
    db: &Connection,
    sql: &str,
    values: impl Params,
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, Fault> {
    let mut select = db.prepare_cached(sql)?;
    let rows = select.query_map(values, read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}
