//! What stands in the tables, reduced to what the audit asks for.

use std::collections::BTreeMap;

/// A row of `notifications`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notification {
    /// Whose it is.
    pub user_id: u64,
    /// Its title.
    pub title: String,
    /// `reference` of its data, where it has one.
    pub reference: Option<String>,
    /// Whether it is read.
    pub is_read: bool,
    /// Whether it is deleted.
    pub deleted: bool,
    /// Where its mail stands.
    pub mail_state: String,
}

/// A row of `notification_preferences`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreferencesRow {
    /// Whether mails are wanted.
    pub email_enabled: bool,
    /// Whether text messages are wanted.
    pub sms_enabled: bool,
    /// How often a digest is wanted.
    pub digest: String,
    /// How to address the user.
    pub salutation: Option<String>,
    /// The day's bound.
    pub max_per_day: u64,
}

/// A row of `notification_activity` that a write of the run left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Who acted.
    pub user_id: u64,
    /// What was done.
    pub action: String,
}

/// The capability's tables on one side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// By id.
    pub notifications: BTreeMap<u64, Notification>,
    /// By user id.
    pub preferences: BTreeMap<u64, PreferencesRow>,
    /// By `client_ref`; rows without one are left out.
    pub activity: BTreeMap<String, Vec<Activity>>,
}

impl Facts {
    /// How many activity rows a write left; one of another user or action does not count, unless it stands
    /// beside the right one.
    pub fn activities(&self, token: &str, (user, action): (Option<u64>, &str)) -> usize {
        let rows = self.activity.get(token).map(Vec::as_slice).unwrap_or_default();
        let right = |row: &&Activity| Some(row.user_id) == user && row.action == action;
        if rows.iter().any(|row| right(&row)) { rows.len() } else { 0 }
    }

    /// How many notifications have this title.
    pub fn titled(&self, title: &str) -> usize {
        self.notifications.values().filter(|n| n.title == title).count()
    }

    /// How many notifications tell that the payment with this reference was captured.
    pub fn referring(&self, token: &str) -> usize {
        let tells =
            |n: &&Notification| n.reference.as_deref() == Some(token) && n.title.starts_with("Payment of ");
        self.notifications.values().filter(tells).count()
    }
}

/// A row of `payments`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Whether it is captured.
    pub captured: bool,
    /// How many transactions of kind `payment` it has.
    pub bookings: usize,
}

/// What only the monolith and the provider have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shop {
    /// Ids by e-mail address.
    pub users: BTreeMap<String, u64>,
    /// Payments by reference.
    pub payments: BTreeMap<String, Vec<Payment>>,
    /// How often the provider captured a reference.
    pub charges: BTreeMap<String, usize>,
}
