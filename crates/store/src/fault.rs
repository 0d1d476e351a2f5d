//! What goes wrong outside of a command: the disk, the file, the data, the queue.
//!
//! A fault says whether the write was certainly not committed. Only [`Fault::Unknown`] leaves it open.

use rusqlite::ErrorCode;
use thiserror::Error;

/// Why a command was not decided, or what became of it is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// The disk is full; nothing was committed.
    #[error("the disk of the database is full; free some space: {0}")]
    Full(String),
    /// The file cannot be written; nothing was committed.
    #[error("the database cannot be written; check the rights of its file and folder: {0}")]
    ReadOnly(String),
    /// Another process holds the file; nothing was committed.
    #[error("the database is locked by another process: {0}")]
    Locked(String),
    /// A value cannot be stored or read; nothing was committed.
    #[error("the data cannot be stored or read: {0}")]
    Data(String),
    /// Anything else that SQLite reports; nothing was committed.
    #[error("the database fails: {0}")]
    Broken(String),
    /// The commit failed: the write may or may not be there.
    #[error("whether the write was committed is unknown: {0}")]
    Unknown(String),
    /// Too many commands wait; nothing was tried.
    #[error("too many commands wait for the database")]
    Busy,
    /// The writer has ended; nothing was tried.
    #[error("the database's writer has ended")]
    Stopped,
}

impl Fault {
    /// Whether the same command may succeed later as it stands.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Locked(_) | Self::Busy | Self::ReadOnly(_))
    }

    /// Whether the command may have taken effect.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(text),
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
                Self::ReadOnly(text)
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked(text),
            Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig) => {
                Self::Data(text)
            }
            Some(_) => Self::Broken(text),
            // Without a code it is the conversion of a value.
            None => Self::Data(text),
        }
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Data(error.to_string())
    }
}
