//! Why control does not start, and why it answers with a problem.

use crate::coordinator::wish::Rejection;
use crate::journal;
use crate::lease::Refused;
use axum::http::StatusCode;
use banyan_runtime::http::Problem;
use std::path::PathBuf;
use thiserror::Error;

/// Why control does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// An option of `[control]` cannot work.
    #[error("[control] {0}")]
    Config(String),
    /// The folder of the journal cannot be made.
    #[error("folder {0}: {1}")]
    Folder(PathBuf, #[source] std::io::Error),
    /// The journal cannot be used.
    #[error("journal {0}: {1}")]
    Journal(PathBuf, #[source] journal::Fault),
    /// A capability has no service to move to.
    #[error("capability `{0}` has no service")]
    NoService(String),
}

/// Why a request is not answered.
#[derive(Debug, Error)]
pub enum Fault {
    /// The capability is not declared.
    #[error("capability `{0}` is not declared")]
    UnknownCapability(String),
    /// There is no such command.
    #[error("`{0}` is not advance, rollback, force, pause or resume")]
    UnknownAction(String),
    /// The wish is refused.
    #[error("{0}")]
    Rejected(#[from] Rejection),
    /// The request cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// The lease is refused.
    #[error("{}", lease_words(*.0))]
    Lease(Refused),
    /// The capability's service is given up.
    #[error(
        "the service of `{0}` was given up by a forced rollback and gets no lease until `banyan migration advance` \
         has admitted it again"
    )]
    Barred(String),
    /// The journal fails.
    #[error("{0}")]
    Journal(#[from] journal::Fault),
    /// The audit's chain is broken.
    #[error("record {0} of the audit is not the one that was written, or is missing")]
    AuditBroken(u64),
    /// Control is shutting down.
    #[error("control is shutting down")]
    Ending,
}

fn lease_words(refused: Refused) -> &'static str {
    match refused {
        Refused::TooMany => "there are as many lease holders as `leases_max` allows",
        Refused::Name => "`holder` must be 1 to 200 bytes",
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let detail = fault.to_string();
        let (status, code) = match fault {
            Fault::UnknownCapability(_) => (StatusCode::NOT_FOUND, "unknown_capability"),
            Fault::UnknownAction(_) => (StatusCode::NOT_FOUND, "unknown_action"),
            Fault::Rejected(Rejection::Percent(_)) => (StatusCode::BAD_REQUEST, "percent_out_of_range"),
            Fault::Rejected(Rejection::WrongDirection { .. }) => (StatusCode::CONFLICT, "wrong_direction"),
            Fault::Rejected(Rejection::NoReason) => (StatusCode::BAD_REQUEST, "reason_missing"),
            Fault::Rejected(Rejection::Forced) => (StatusCode::CONFLICT, "forced_rollback_runs"),
            Fault::Barred(_) => (StatusCode::CONFLICT, "service_given_up"),
            Fault::Malformed(_) | Fault::Lease(Refused::Name) => {
                (StatusCode::BAD_REQUEST, "malformed_request")
            }
            Fault::Lease(Refused::TooMany) => (StatusCode::SERVICE_UNAVAILABLE, "too_many_leases"),
            Fault::Journal(_) => (StatusCode::SERVICE_UNAVAILABLE, "journal_unavailable"),
            Fault::AuditBroken(_) => (StatusCode::INTERNAL_SERVER_ERROR, "audit_broken"),
            Fault::Ending => (StatusCode::SERVICE_UNAVAILABLE, "ending"),
        };
        let problem = Problem::new(status, code, detail);
        if status == StatusCode::SERVICE_UNAVAILABLE { problem.retry_after(1) } else { problem }
    }
}
