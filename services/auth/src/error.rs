//! Why auth does not start, and why it answers with a problem instead of an identity.

use crate::database::DatabaseFault;
use axum::http::StatusCode;
use banyan_runtime::http::Problem;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why auth does not start. No port is bound yet.
#[derive(Debug, Error)]
pub enum StartError {
    /// An option of `[auth]` cannot work.
    #[error("[auth] {0}")]
    Config(String),
    /// Laravel's application key cannot be used.
    #[error("the monolith's app key {0}")]
    AppKey(String),
    /// The database's address cannot be read.
    #[error("the monolith's database must be mysql://USER:PASSWORD@HOST:PORT/SCHEMA: {0}")]
    DatabaseUrl(String),
    /// The signing key cannot be read or made.
    #[error("signing key {0}: {1}")]
    SigningKey(PathBuf, #[source] io::Error),
}

/// Why a request is not answered.
#[derive(Debug, Error)]
pub enum Fault {
    /// The monolith's database fails; whether there is a user is unknown.
    #[error("the monolith's database does not answer: {0}")]
    Database(#[from] DatabaseFault),
    /// A session exceeds a limit; whether it has a user is unknown.
    #[error("a session exceeds what Banyan reads: 1 MiB, 128 levels, 50000 values")]
    SessionTooLarge,
    /// The audience is no declared capability.
    #[error("the audience `{0}` is not a declared capability")]
    UnknownAudience(String),
    /// The lookup is not declared.
    #[error("the lookup `{0}` is not declared in [auth.lookups]")]
    UnknownLookup(String),
    /// The request cannot be read.
    #[error("{0}")]
    Malformed(String),
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let detail = fault.to_string();
        let (status, code) = match fault {
            Fault::Database(_) => (StatusCode::SERVICE_UNAVAILABLE, "session_store_unavailable"),
            Fault::SessionTooLarge => (StatusCode::SERVICE_UNAVAILABLE, "session_too_large"),
            Fault::UnknownAudience(_) => (StatusCode::BAD_REQUEST, "unknown_audience"),
            Fault::UnknownLookup(_) => (StatusCode::NOT_FOUND, "unknown_lookup"),
            Fault::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed_request"),
        };
        let problem = Problem::new(status, code, detail);
        if status == StatusCode::SERVICE_UNAVAILABLE { problem.retry_after(1) } else { problem }
    }
}
