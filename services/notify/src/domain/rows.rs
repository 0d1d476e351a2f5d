//! The rows that the capability owns, and the users that it only reads.

use serde::{Deserialize, Serialize};

/// What a date column that was never set holds.
pub const ZERO_DATE: &str = "0000-00-00 00:00:00";

/// Local time as the monolith stores it, `YYYY-MM-DD HH:MM:SS`.
pub type LocalTime = String;

/// An enum that has a label in the database and in JSON.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$member_doc:meta])* $member:ident = $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$member_doc])* $member,)* }

        impl $name {
            /// The label.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$member => $label,)* }
            }

            /// The member with this label.
            pub fn from_label(label: &str) -> Option<Self> {
                match label { $($label => Some(Self::$member),)* _ => None }
            }
        }
    };
}

labels! {
    /// What a notification tells of.
    Kind {
        /// A payment.
        Payment = "payment",
        /// Something that the user wanted to be reminded of.
        Reminder = "reminder",
        /// The account's security.
        Security = "security",
        /// Anything else.
        System = "system",
    }
}

labels! {
    /// Where a notification's mail stands.
    MailState {
        /// None is wanted.
        None = "none",
        /// To be sent.
        Pending = "pending",
        /// Somebody is sending it.
        Claimed = "claimed",
        /// Sent.
        Sent = "sent",
        /// Not sent, or not known to be sent; never tried again.
        Failed = "failed",
        /// Not wanted any more when its turn came.
        Skipped = "skipped",
    }
}

labels! {
    /// How often a user wants a digest.
    Digest {
        /// Never.
        None = "none",
        /// Every day.
        Daily = "daily",
        /// Every week.
        Weekly = "weekly",
    }
}

/// A `TINYINT(1)`: the number is kept as it stands; anything but 0 means yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Flag(pub i64);

impl Flag {
    /// Yes.
    pub const YES: Self = Self(1);
    /// No.
    pub const NO: Self = Self(0);

    /// Whether it means yes.
    pub fn is_set(self) -> bool {
        self.0 != 0
    }
}

/// A row of `notifications`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Its id, from the monolith's counter on both sides.
    pub id: u64,
    /// Whose it is.
    pub user_id: u64,
    /// What it tells of.
    pub kind: Kind,
    /// At most 160 characters.
    pub title: String,
    /// The text.
    pub body: Option<String>,
    /// JSON as text.
    pub data: Option<String>,
    /// The higher, the more urgent.
    pub priority: i64,
    /// Whether the user has read it.
    pub is_read: Flag,
    /// Since when it is read.
    pub read_at: Option<LocalTime>,
    /// Where its mail stands.
    pub mail_state: MailState,
    /// When it was mailed, or the zero date.
    pub mailed_at: LocalTime,
    /// When it was made.
    pub created_at: LocalTime,
    /// When it was last changed by a user.
    pub updated_at: LocalTime,
    /// Since when it is deleted.
    pub deleted_at: Option<LocalTime>,
}

impl Notification {
    /// Whether its mail is still to be sent, or being sent.
    pub fn awaits_mail(&self) -> bool {
        matches!(self.mail_state, MailState::Pending | MailState::Claimed) && self.deleted_at.is_none()
    }
}

/// A row of `notification_preferences`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preferences {
    /// Whose they are.
    pub user_id: u64,
    /// Whether mails are wanted.
    pub email_enabled: Flag,
    /// Whether text messages are wanted.
    pub sms_enabled: Flag,
    /// How often a digest is wanted.
    pub digest: Digest,
    /// How to address the user; only what Windows-1252 can hold.
    pub salutation: Option<String>,
    /// The most mails of one day.
    pub max_per_day: u64,
    /// JSON as text: `{"from":"HH:MM","to":"HH:MM"}`.
    pub quiet_hours: Option<String>,
    /// When the row was made.
    pub created_at: LocalTime,
    /// When it was last changed.
    pub updated_at: LocalTime,
}

impl Preferences {
    /// What holds for a user without a row.
    pub fn defaults(user_id: u64, now: &str) -> Self {
        Self {
            user_id,
            email_enabled: Flag::YES,
            sms_enabled: Flag::NO,
            digest: Digest::None,
            salutation: None,
            max_per_day: 20,
            quiet_hours: None,
            created_at: now.into(),
            updated_at: now.into(),
        }
    }
}

/// A row of `notification_activity`: one for every write of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// Its id, from the monolith's counter on both sides.
    pub id: u64,
    /// Who acted.
    pub user_id: u64,
    /// On what, where it was one notification.
    pub notification_id: Option<u64>,
    /// What was done.
    pub action: String,
    /// The client's own reference of the write, at most 80 characters.
    pub client_ref: Option<String>,
    /// When.
    pub created_at: LocalTime,
}

/// A row of `users`, as far as it is copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The user's id.
    pub id: u64,
    /// The name.
    pub name: String,
    /// The address.
    pub email: String,
    /// Since when the account is deleted.
    pub deleted_at: Option<LocalTime>,
}
