//! Reads the tables of both sides: the monolith's over SQL, the service's file read-only.

use anyhow::Context as _;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts};
use rusqlite::OpenFlags;
use std::collections::BTreeMap;
use std::path::Path;

use super::facts::{Activity, Facts, Notification, Payment, PreferencesRow, Shop};

/// A connection to the monolith's database.
///
/// # Errors
/// The database cannot be reached.
pub async fn connect(url: &str) -> anyhow::Result<Conn> {
    Conn::new(Opts::from_url(url)?).await.context("cannot connect to the monolith's database")
}

type NotificationColumns = (u64, u64, String, Option<String>, bool, bool, String);
type PreferencesColumns = (u64, bool, bool, String, Option<String>, u64);
type ActivityColumns = (String, u64, String);

fn facts(
    notifications: Vec<NotificationColumns>,
    preferences: Vec<PreferencesColumns>,
    activity: Vec<ActivityColumns>,
) -> Facts {
    let mut facts = Facts::default();
    for (id, user_id, title, reference, is_read, deleted, mail_state) in notifications {
        let row = Notification { user_id, title, reference, is_read, deleted, mail_state };
        facts.notifications.insert(id, row);
    }
    for (user_id, email_enabled, sms_enabled, digest, salutation, max_per_day) in preferences {
        let row = PreferencesRow { email_enabled, sms_enabled, digest, salutation, max_per_day };
        facts.preferences.insert(user_id, row);
    }
    for (client_ref, user_id, action) in activity {
        facts.activity.entry(client_ref).or_default().push(Activity { user_id, action });
    }
    facts
}

/// The capability's tables at the monolith.
///
/// # Errors
/// The database fails.
pub async fn monolith(database: &mut Conn) -> anyhow::Result<Facts> {
    let notifications = database
        .query(
            "SELECT id, user_id, title, JSON_UNQUOTE(JSON_EXTRACT(data, '$.reference')), is_read <> 0,
                    deleted_at IS NOT NULL, mail_state FROM notifications",
        )
        .await?;
    let preferences = database
        .query(
            "SELECT user_id, email_enabled <> 0, sms_enabled <> 0, digest, salutation, max_per_day
             FROM notification_preferences",
        )
        .await?;
    let activity = database
        .query("SELECT client_ref, user_id, action FROM notification_activity WHERE client_ref IS NOT NULL")
        .await?;
    Ok(facts(notifications, preferences, activity))
}

/// Users, payments and charges; `charges` is the provider's own list of references.
///
/// # Errors
/// The database fails.
pub async fn shop(database: &mut Conn, charges: BTreeMap<String, usize>) -> anyhow::Result<Shop> {
    let users: Vec<(String, u64)> = database.query("SELECT email, id FROM users").await?;
    let rows: Vec<(String, String, usize)> = database
        .query(
            "SELECT p.reference, p.status,
                    (SELECT COUNT(*) FROM transactions t WHERE t.payment_id = p.id AND t.kind = 'payment')
             FROM payments p WHERE p.reference IS NOT NULL AND p.id + 100000 > (SELECT MAX(id) FROM payments)",
        )
        .await?;
    let mut payments: BTreeMap<String, Vec<Payment>> = BTreeMap::new();
    for (reference, status, bookings) in rows {
        payments.entry(reference).or_default().push(Payment { captured: status == "captured", bookings });
    }
    Ok(Shop { users: users.into_iter().collect(), payments, charges })
}

/// The capability's tables at the service.
///
/// # Errors
/// The file cannot be read, or has other tables.
pub fn service(file: &Path) -> anyhow::Result<Facts> {
    let open = rusqlite::Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let database = open.with_context(|| format!("cannot read {}", file.display()))?;
    let notifications = rows(
        &database,
        "SELECT id, user_id, title, json_extract(data, '$.reference'), is_read <> 0,
                deleted_at IS NOT NULL, mail_state FROM notifications",
        |row| {
            let (id, user): (i64, i64) = (row.get(0)?, row.get(1)?);
            let rest = (row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?);
            Ok((id as u64, user as u64, rest.0, rest.1, rest.2, rest.3, rest.4))
        },
    )?;
    let preferences = rows(
        &database,
        "SELECT user_id, email_enabled <> 0, sms_enabled <> 0, digest, salutation, max_per_day
         FROM notification_preferences",
        |row| {
            let (user, max): (i64, i64) = (row.get(0)?, row.get(5)?);
            Ok((user as u64, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, max as u64))
        },
    )?;
    let activity = rows(
        &database,
        "SELECT client_ref, user_id, action FROM notification_activity WHERE client_ref IS NOT NULL",
        |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64, row.get(2)?)),
    )?;
    Ok(facts(notifications, preferences, activity))
}

fn rows<T>(
    database: &rusqlite::Connection,
    sql: &str,
    map: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> anyhow::Result<Vec<T>> {
    let mut statement = database.prepare(sql)?;
    let rows = statement.query_map([], map)?.collect::<rusqlite::Result<Vec<T>>>()?;
    Ok(rows)
}
