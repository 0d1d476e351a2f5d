//! Rows on the wire (`banyan_core::row`) to typed rows and back, column by column.
//!
//! A row that misses a column, or holds what its type does not allow, is an error that names the column.
//! Columns that this version does not know are left out; reverse leaves them as they are in the monolith.

use crate::domain::{
    ACTIVITY, Activity, Digest, Event, Flag, Kind, MailState, NOTIFICATIONS, Notification, PREFERENCES,
    Preferences, Record, USERS, User,
};
use banyan_core::Row;
use banyan_core::row::RowWrite;
use serde_json::Value;

/// A row of any table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnyRow {
    /// Of an owned table.
    Owned(Record),
    /// Of the users.
    User(User),
}

/// Reads a row of a table.
///
/// # Errors
/// Names the table, the column and what is wrong with it.
pub fn parse(table: &str, row: &Row) -> Result<AnyRow, String> {
    let columns = Columns { table, row };
    Ok(match table {
        NOTIFICATIONS => AnyRow::Owned(Record::Notification(notification(&columns)?)),
        PREFERENCES => AnyRow::Owned(Record::Preferences(preferences(&columns)?)),
        ACTIVITY => AnyRow::Owned(Record::Activity(activity(&columns)?)),
        USERS => AnyRow::User(user(&columns)?),
        _ => return Err(format!("table {table} is not one of this service")),
    })
}

/// The column that holds the primary key of a table.
pub fn key_column(table: &str) -> &'static str {
    if table == PREFERENCES { "user_id" } else { "id" }
}

/// The column that holds the subject of a table.
pub fn subject_column(table: &str) -> &'static str {
    if table == USERS { "id" } else { "user_id" }
}

/// The number in a column.
///
/// # Errors
/// There is none.
pub fn number(table: &str, row: &Row, column: &str) -> Result<u64, String> {
    Columns { table, row }.id(column)
}

/// The monolith's table and row of a record.
pub fn row_of(record: &Record) -> (&'static str, Row) {
    match record {
        Record::Notification(row) => (NOTIFICATIONS, notification_row(row)),
        Record::Preferences(row) => (PREFERENCES, preferences_row(row)),
        Record::Activity(row) => (ACTIVITY, activity_row(row)),
    }
}

/// The rows that an event means in the monolith.
pub fn writes(event: &Event) -> Vec<RowWrite> {
    let upsert = |record| {
        let (table, row) = row_of(record);
        RowWrite::Upsert { table: table.into(), row }
    };
    event.rows.iter().map(upsert).collect()
}

struct Columns<'r> {
    table: &'r str,
    row: &'r Row,
}

impl Columns<'_> {
    fn value(&self, column: &str) -> Result<&Value, String> {
        self.row.get(column).ok_or_else(|| format!("{}.{column} is missing", self.table))
    }

    fn wrong<T>(&self, column: &str, wanted: &str) -> Result<T, String> {
        let value = self.row.get(column).unwrap_or(&Value::Null);
        Err(format!("{}.{column} is {value} and should be {wanted}", self.table))
    }

    fn integer(&self, column: &str) -> Result<i64, String> {
        match self.value(column)?.as_i64() {
            Some(number) => Ok(number),
            None => self.wrong(column, "an integer below 2^63"),
        }
    }

    /// Ids are kept as SQLite's integers, so that the upper half of MySQL's range cannot be held.
    fn id(&self, column: &str) -> Result<u64, String> {
        match u64::try_from(self.integer(column)?) {
            Ok(id) => Ok(id),
            Err(_) => self.wrong(column, "not negative"),
        }
    }

    fn text(&self, column: &str) -> Result<String, String> {
        match self.value(column)?.as_str() {
            Some(text) => Ok(text.into()),
            None => self.wrong(column, "text"),
        }
    }

    fn optional<T>(
        &self,
        column: &str,
        read: impl FnOnce(&Self, &str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        if self.value(column)?.is_null() { Ok(None) } else { read(self, column).map(Some) }
    }

    fn label<T>(&self, column: &str, from_label: fn(&str) -> Option<T>) -> Result<T, String> {
        match from_label(&self.text(column)?) {
            Some(member) => Ok(member),
            None => self.wrong(column, "a label of this version"),
        }
    }
}

fn notification(columns: &Columns<'_>) -> Result<Notification, String> {
    Ok(Notification {
        id: columns.id("id")?,
        user_id: columns.id("user_id")?,
        kind: columns.label("type", Kind::from_label)?,
        title: columns.text("title")?,
        body: columns.optional("body", Columns::text)?,
        data: columns.optional("data", Columns::text)?,
        priority: columns.integer("priority")?,
        is_read: Flag(columns.integer("is_read")?),
        read_at: columns.optional("read_at", Columns::text)?,
        mail_state: columns.label("mail_state", MailState::from_label)?,
        mailed_at: columns.text("mailed_at")?,
        created_at: columns.text("created_at")?,
        updated_at: columns.text("updated_at")?,
        deleted_at: columns.optional("deleted_at", Columns::text)?,
    })
}

fn notification_row(row: &Notification) -> Row {
    Row::from([
        ("id".into(), row.id.into()),
        ("user_id".into(), row.user_id.into()),
        ("type".into(), row.kind.as_str().into()),
        ("title".into(), row.title.clone().into()),
        ("body".into(), row.body.clone().into()),
        ("data".into(), row.data.clone().into()),
        ("priority".into(), row.priority.into()),
        ("is_read".into(), row.is_read.0.into()),
        ("read_at".into(), row.read_at.clone().into()),
        ("mail_state".into(), row.mail_state.as_str().into()),
        ("mailed_at".into(), row.mailed_at.clone().into()),
        ("created_at".into(), row.created_at.clone().into()),
        ("updated_at".into(), row.updated_at.clone().into()),
        ("deleted_at".into(), row.deleted_at.clone().into()),
    ])
}

fn preferences(columns: &Columns<'_>) -> Result<Preferences, String> {
    Ok(Preferences {
        user_id: columns.id("user_id")?,
        email_enabled: Flag(columns.integer("email_enabled")?),
        sms_enabled: Flag(columns.integer("sms_enabled")?),
        digest: columns.label("digest", Digest::from_label)?,
        salutation: columns.optional("salutation", Columns::text)?,
        max_per_day: columns.id("max_per_day")?,
        quiet_hours: columns.optional("quiet_hours", Columns::text)?,
        created_at: columns.text("created_at")?,
        updated_at: columns.text("updated_at")?,
    })
}

fn preferences_row(row: &Preferences) -> Row {
    Row::from([
        ("user_id".into(), row.user_id.into()),
        ("email_enabled".into(), row.email_enabled.0.into()),
        ("sms_enabled".into(), row.sms_enabled.0.into()),
        ("digest".into(), row.digest.as_str().into()),
        ("salutation".into(), row.salutation.clone().into()),
        ("max_per_day".into(), row.max_per_day.into()),
        ("quiet_hours".into(), row.quiet_hours.clone().into()),
        ("created_at".into(), row.created_at.clone().into()),
        ("updated_at".into(), row.updated_at.clone().into()),
    ])
}

fn activity(columns: &Columns<'_>) -> Result<Activity, String> {
    Ok(Activity {
        id: columns.id("id")?,
        user_id: columns.id("user_id")?,
        notification_id: columns.optional("notification_id", Columns::id)?,
        action: columns.text("action")?,
        client_ref: columns.optional("client_ref", Columns::text)?,
        created_at: columns.text("created_at")?,
    })
}

fn activity_row(row: &Activity) -> Row {
    Row::from([
        ("id".into(), row.id.into()),
        ("user_id".into(), row.user_id.into()),
        ("notification_id".into(), row.notification_id.into()),
        ("action".into(), row.action.clone().into()),
        ("client_ref".into(), row.client_ref.clone().into()),
        ("created_at".into(), row.created_at.clone().into()),
    ])
}

fn user(columns: &Columns<'_>) -> Result<User, String> {
    Ok(User {
        id: columns.id("id")?,
        name: columns.text("name")?,
        email: columns.text("email")?,
        deleted_at: columns.optional("deleted_at", Columns::text)?,
    })
}

/// A user in the monolith's shape, as far as it is copied.
pub fn user_row(row: &User) -> Row {
    Row::from([
        ("id".into(), row.id.into()),
        ("name".into(), row.name.clone().into()),
        ("email".into(), row.email.clone().into()),
        ("deleted_at".into(), row.deleted_at.clone().into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row() -> Row {
        let row = json!({
            "id": 7, "user_id": 3, "type": "payment", "title": "Zoë 🐗", "body": null,
            "data": "{\"b\": 1, \"a\": \"12.50\"}", "priority": -3, "is_read": 2, "read_at": null,
            "mail_state": "sent", "mailed_at": "0000-00-00 00:00:00", "created_at": "2026-10-25 02:30:00",
            "updated_at": "2026-10-25 02:30:00", "deleted_at": null,
        });
        serde_json::from_value(row).unwrap()
    }

    #[test]
    fn a_row_comes_back_as_it_was() {
        let Ok(AnyRow::Owned(record)) = parse(NOTIFICATIONS, &row()) else { panic!() };
        assert_eq!(row_of(&record), (NOTIFICATIONS, row()));
        let mut more = row();
        more.insert("added_later".into(), json!(1));
        assert_eq!(parse(NOTIFICATIONS, &more), Ok(AnyRow::Owned(record)));
    }

    #[test]
    fn what_a_type_does_not_allow_is_named() {
        let table = [
            ("id", json!(u64::MAX), "notifications.id is 18446744073709551615 and should be an integer"),
            ("id", json!(-1), "notifications.id is -1 and should be not negative"),
            ("type", json!("push"), "notifications.type is \"push\" and should be a label"),
            ("title", json!(null), "notifications.title is null and should be text"),
            ("read_at", json!(5), "notifications.read_at is 5 and should be text"),
        ];
        for (column, value, wanted) in table {
            let mut row = row();
            row.insert(column.into(), value);
            let error = parse(NOTIFICATIONS, &row).unwrap_err();
            assert!(error.starts_with(wanted), "{error}");
        }
        let mut missing = row();
        missing.remove("body");
        assert_eq!(parse(NOTIFICATIONS, &missing), Err("notifications.body is missing".into()));
        assert!(parse("payments", &row()).is_err());
    }
}
