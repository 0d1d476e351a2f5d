//! What the service can be asked to do, what it answers, why it refuses.

use super::rows::{Digest, Flag, Notification, Preferences};
use banyan_core::OwnerEpoch;
use banyan_core::protocol::import::{BinlogPosition, ImportBatch, ImportOutcome};
use banyan_core::protocol::monolith::IdBlock;
use banyan_core::protocol::target::{OwnershipClose, OwnershipOpen};
use serde::{Deserialize, Serialize};

/// A command.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// A user's write, routed here by the gateway.
    Write(Write),
    /// The mail worker wants to send the mail of this notification.
    ClaimMail {
        /// The notification.
        id: u64,
        /// Whose it is.
        user: u64,
    },
    /// What became of a mail that was claimed here.
    RecordMail {
        /// The notification.
        id: u64,
        /// Whose it is.
        user: u64,
        /// What became of it.
        outcome: MailOutcome,
    },
    /// The monolith's changes.
    Import(Box<ImportBatch>),
    /// A dead letter is tried again.
    RetryLetter(u64),
    /// A dead letter is dropped, for a reason.
    DiscardLetter(u64, String),
    /// Ids that the monolith has leased.
    AddBlock {
        /// For this table.
        table: String,
        /// The ids.
        block: IdBlock,
    },
    /// The coordinator opens buckets.
    Open(OwnershipOpen),
    /// The coordinator closes buckets.
    Close(OwnershipClose),
}

/// A user's write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Who writes.
    pub user: u64,
    /// The owner epoch under which the gateway routed it.
    pub owner_epoch: OwnerEpoch,
    /// The client's own reference.
    pub client_ref: Option<String>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// What to do.
    pub action: Action,
}

/// What a user wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Mark one notification read; it may be read already.
    Read(u64),
    /// Mark all read.
    ReadAll,
    /// Delete one.
    Delete(u64),
    /// Make a reminder.
    Remind {
        /// Its title.
        title: String,
        /// Its text.
        body: Option<String>,
    },
    /// Change preferences.
    SetPreferences(PreferencesChange),
    /// No more mails.
    Unsubscribe,
}

impl Action {
    /// The `action` of the activity row that it leaves.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Read(_) => "read",
            Self::ReadAll => "read_all",
            Self::Delete(_) => "delete",
            Self::Remind { .. } => "reminder",
            Self::SetPreferences(_) => "preferences",
            Self::Unsubscribe => "unsubscribe",
        }
    }
}

/// The preferences to change; `None` leaves one as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreferencesChange {
    /// Whether mails are wanted.
    pub email_enabled: Option<Flag>,
    /// Whether text messages are wanted.
    pub sms_enabled: Option<Flag>,
    /// How often a digest is wanted.
    pub digest: Option<Digest>,
    /// How to address the user, or not at all.
    pub salutation: Option<Option<String>>,
    /// The most mails of one day.
    pub max_per_day: Option<u64>,
    /// JSON as text, or none.
    pub quiet_hours: Option<Option<String>>,
}

/// What became of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailOutcome {
    /// The server has taken it.
    Sent,
    /// It was refused for good, or nobody knows.
    Failed,
    /// It was certainly not taken: another try is allowed.
    NotTaken,
}

impl MailOutcome {
    /// The word in metrics and traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::NotTaken => "not_taken",
        }
    }
}

/// What an accepted command is answered with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// The notification as it is now.
    Notification(Box<Notification>),
    /// How many notifications were marked read.
    Updated(u64),
    /// The preferences as they are now.
    Preferences(Preferences),
    /// Done, nothing to tell.
    Done,
    /// The mail to send; it is claimed.
    Claimed(Box<Mail>),
    /// The mail is not wanted any more.
    Skipped,
    /// What became of a batch.
    Imported(ImportOutcome),
    /// Whether a coordinator's command took effect.
    Applied(bool),
}

/// An answer and the outbox position behind its events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The answer.
    pub answer: Answer,
    /// The position.
    pub position: u64,
}

/// What a mail is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// The notification.
    pub notification: u64,
    /// The recipient's address.
    pub to: String,
    /// How to address the recipient.
    pub salutation: String,
    /// The subject.
    pub title: String,
    /// The text.
    pub body: Option<String>,
    /// The trace of what made the notification, as W3C `traceparent`.
    pub traceparent: Option<String>,
}

/// Why a command is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rejection {
    /// The user has no such notification.
    NotificationNotFound,
    /// The ids of this table's blocks are used up.
    NoIds(String),
    /// The notification's mail is not there to be claimed or recorded.
    MailNotDue,
    /// Another mail of the user is being sent.
    MailInFlight,
    /// The service stands at another position.
    PositionMismatch(Option<BinlogPosition>),
    /// A batch with intents needs the lease.
    NoLease,
    /// A database without the monolith's rows opens no bucket.
    Empty,
    /// A batch holds what no sync of this installation sends.
    Malformed(String),
    /// There is no such open letter.
    LetterNotFound,
    /// The letter cannot be settled yet.
    LetterStays(String),
    /// The block overlaps what the service has.
    BlockRefused,
}
