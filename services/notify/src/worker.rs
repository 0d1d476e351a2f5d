//! The background tasks: the lease, the ids, the mails.

pub mod blocks;
pub mod lease;
pub mod mail;
pub mod sender;
pub mod smtp;
