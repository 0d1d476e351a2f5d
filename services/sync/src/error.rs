//! Why sync does not start, and why it answers with a problem.

use crate::database::{DatabaseFault, code};
use axum::http::StatusCode;
use banyan_core::Bucket;
use banyan_runtime::client::CallError;
use banyan_runtime::http::Problem;
use thiserror::Error;

/// Why sync does not start. No port is bound yet.
#[derive(Debug, Error)]
pub enum StartError {
    /// An option of `[sync]` cannot work.
    #[error("[sync] {0}")]
    Config(String),
    /// The database's address cannot be used.
    #[error("the monolith's database must be mysql://USER:PASSWORD@HOST:PORT/SCHEMA: {0}")]
    DatabaseUrl(String),
    /// A capability has no client of its service.
    #[error("capability `{0}` has no service to send its changes to")]
    NoService(String),
}

/// Why a request is not answered.
#[derive(Debug, Error)]
pub enum Fault {
    /// The monolith's database fails; what was asked for may have happened.
    #[error(transparent)]
    Database(#[from] DatabaseFault),
    /// The service fails.
    #[error("the service does not answer: {0}")]
    Service(#[from] CallError),
    /// The tables cannot be captured.
    #[error("{0}")]
    Schema(String),
    /// No such capability.
    #[error("the capability `{0}` is not declared")]
    UnknownCapability(String),
    /// No such table, or one whose ids the service does not make.
    #[error("the service makes no ids of table `{0}`; declare `leases_ids = true`")]
    NoBlocks(String),
    /// Gates, fence or triggers are missing.
    #[error("gates and fence of `{0}` are not installed; run `banyan fence install`")]
    NotInstalled(String),
    /// A coordinator with a higher turn holds the gates.
    #[error("the gates of `{0}` are held by a coordinator with a higher turn")]
    StaleTurn(String),
    /// Rows of the fence are held by a writer.
    #[error("fence rows of `{capability}` are locked; open transactions: {holders}")]
    FenceLocked {
        /// The capability.
        capability: String,
        /// Who probably holds them.
        holders: String,
    },
    /// The fence may not be removed now.
    #[error("{buckets} buckets of `{capability}` are moving or owned by the service; roll back first")]
    ServiceOwns {
        /// The capability.
        capability: String,
        /// How many buckets.
        buckets: u64,
    },
    /// The ids of the table are used up, or no block could be made in time.
    #[error("no block of ids for `{table}`: {cause}")]
    NoBlock {
        /// The table.
        table: String,
        /// Why.
        cause: String,
    },
    /// There is no such conflict, or it is settled.
    #[error("there is no open conflict {0}")]
    UnknownConflict(u64),
    /// A conflict is replayed only at the monolith.
    #[error("bucket {bucket} of `{capability}` is not the monolith's; roll back first")]
    NotMonoliths {
        /// The capability.
        capability: String,
        /// The bucket.
        bucket: Bucket,
    },
    /// The request cannot be read.
    #[error("{0}")]
    Malformed(String),
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let detail = fault.to_string();
        let (status, code) = match fault {
            Fault::Database(fault) if fault.is(code::NO_SUCH_TABLE) => {
                (StatusCode::CONFLICT, "fence_not_installed")
            }
            Fault::Database(_) => (StatusCode::SERVICE_UNAVAILABLE, "monolith_unavailable"),
            Fault::Service(_) => (StatusCode::SERVICE_UNAVAILABLE, "service_unavailable"),
            Fault::Schema(_) => (StatusCode::CONFLICT, "schema"),
            Fault::UnknownCapability(_) => (StatusCode::NOT_FOUND, "unknown_capability"),
            Fault::NoBlocks(_) => (StatusCode::BAD_REQUEST, "no_blocks"),
            Fault::NotInstalled(_) => (StatusCode::CONFLICT, "fence_not_installed"),
            Fault::StaleTurn(_) => (StatusCode::CONFLICT, "stale_turn"),
            Fault::FenceLocked { .. } => (StatusCode::SERVICE_UNAVAILABLE, "fence_locked"),
            Fault::ServiceOwns { .. } => (StatusCode::CONFLICT, "service_owns"),
            Fault::UnknownConflict(_) => (StatusCode::NOT_FOUND, "conflict_not_found"),
            Fault::NotMonoliths { .. } => (StatusCode::CONFLICT, "not_monoliths"),
            Fault::NoBlock { .. } => (StatusCode::SERVICE_UNAVAILABLE, "no_block"),
            Fault::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed_request"),
        };
        let problem = Problem::new(status, code, detail);
        if status == StatusCode::SERVICE_UNAVAILABLE { problem.retry_after(1) } else { problem }
    }
}
