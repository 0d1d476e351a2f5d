//! What the capability means, without database, clock, network or monolith.
//!
//! `decide` functions read the state and return events and an answer, or a rejection; [`state::State::apply`]
//! takes events over. Time and ids arrive in the [`Context`].

pub mod command;
pub mod event;
pub mod mail;
pub mod rows;
pub mod state;
pub mod write;

pub use command::{
    Action, Answer, Answered, Command, Mail, MailOutcome, PreferencesChange, Rejection, Write,
};
pub use event::{Event, EventKind, Record};
pub use rows::{Activity, Digest, Flag, Kind, MailState, Notification, Preferences, User};
pub use state::State;

/// The table of notifications.
pub const NOTIFICATIONS: &str = "notifications";
/// The table of preferences.
pub const PREFERENCES: &str = "notification_preferences";
/// The table of activity.
pub const ACTIVITY: &str = "notification_activity";
/// The table of users.
pub const USERS: &str = "users";
/// All tables of the capability.
pub const TABLES: [&str; 4] = [NOTIFICATIONS, PREFERENCES, ACTIVITY, USERS];

/// What a decision may know besides the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The local time.
    pub now: rows::LocalTime,
    /// The local midnight at which today began.
    pub today: rows::LocalTime,
    /// An id for a new notification, where one is left.
    pub notification_id: Option<u64>,
    /// An id for a new activity, where one is left.
    pub activity_id: Option<u64>,
}

#[cfg(test)]
mod tests;
