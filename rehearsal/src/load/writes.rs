//! The load side's own account of every write: its unique token, what it wanted, and what it was told.

use serde::Serialize;
use std::collections::BTreeSet;

/// A customer's notification preferences, as far as a write names them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Preferences {
    /// Whether mails are wanted.
    pub email_enabled: Option<bool>,
    /// Whether text messages are wanted.
    pub sms_enabled: Option<bool>,
    /// `none`, `daily` or `weekly`.
    pub digest: Option<&'static str>,
    /// How to address the customer.
    pub salutation: Option<&'static str>,
    /// The day's bound.
    pub max_per_day: Option<u64>,
}

impl Preferences {
    /// Takes over what a newer write names.
    pub fn overlay(&mut self, newer: &Self) {
        self.email_enabled = newer.email_enabled.or(self.email_enabled);
        self.sms_enabled = newer.sms_enabled.or(self.sms_enabled);
        self.digest = newer.digest.or(self.digest);
        self.salutation = newer.salutation.or(self.salutation);
        self.max_per_day = newer.max_per_day.or(self.max_per_day);
    }
}

/// What a write wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Mark one notification read.
    Read(u64),
    /// Mark all read; at least these were there.
    ReadAll(BTreeSet<u64>),
    /// Delete one.
    Delete(u64),
    /// Write a reminder; its title holds the token. The id, where the answer told it.
    Reminder(Option<u64>),
    /// Change preferences.
    Preferences(Preferences),
    /// Want no more mails, by the link in a mail.
    Unsubscribe,
    /// Pay.
    Payment,
    /// Become a customer; the token is the e-mail address.
    Registration,
}

impl Wish {
    /// The `action` of the activity row that the write leaves, where it leaves one.
    pub fn action(&self) -> Option<&'static str> {
        match self {
            Self::Read(_) => Some("read"),
            Self::ReadAll(_) => Some("read_all"),
            Self::Delete(_) => Some("delete"),
            Self::Reminder(_) => Some("reminder"),
            Self::Preferences(_) => Some("preferences"),
            Self::Unsubscribe => Some("unsubscribe"),
            Self::Payment | Self::Registration => None,
        }
    }
}

/// What the customer was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done: it must be there exactly once.
    Acknowledged,
    /// The payment was tried and declined: it must be there once, as failed.
    Declined,
    /// It was not done: it must not be there.
    Refused,
    /// No answer, or one that leaves it open: it may be there once. Never sent again.
    Unknown,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Unique in the whole run; stands in a column of both sides.
    pub token: String,
    /// Who wrote.
    pub email: String,
    /// What it wanted.
    pub wish: Wish,
    /// What the customer was told.
    pub outcome: Outcome,
}
