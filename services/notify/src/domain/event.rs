//! What has happened: every event carries the rows that it changed as they are afterwards.

use super::rows::{Activity, Notification, Preferences};

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// Whose rows.
    pub user: u64,
    /// The rows as they are now.
    pub rows: Vec<Record>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// One notification was marked read.
    Read,
    /// All were.
    AllRead,
    /// One was deleted.
    Deleted,
    /// A reminder was made.
    Reminded,
    /// Preferences were changed.
    PreferencesChanged,
    /// The user wants no more mails.
    Unsubscribed,
    /// This service sends the mail of a notification.
    MailClaimed,
    /// The mail of a notification was sent, failed, was skipped, or is due again.
    MailSettled,
    /// What the monolith wanted of a row was done.
    IntentFollowed,
    /// The monolith inserted a row that is there already: this one stays.
    RowKept,
}

impl EventKind {
    /// CloudEvents `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "notification.read",
            Self::AllRead => "notification.all_read",
            Self::Deleted => "notification.deleted",
            Self::Reminded => "notification.reminded",
            Self::PreferencesChanged => "preferences.changed",
            Self::Unsubscribed => "preferences.unsubscribed",
            Self::MailClaimed => "mail.claimed",
            Self::MailSettled => "mail.settled",
            Self::IntentFollowed => "intent.followed",
            Self::RowKept => "row.kept",
        }
    }
}

/// A row of one of the owned tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Of `notifications`.
    Notification(Notification),
    /// Of `notification_preferences`.
    Preferences(Preferences),
    /// Of `notification_activity`.
    Activity(Activity),
}

impl Record {
    /// Whose row it is.
    pub fn user(&self) -> u64 {
        match self {
            Self::Notification(row) => row.user_id,
            Self::Preferences(row) => row.user_id,
            Self::Activity(row) => row.user_id,
        }
    }
}
