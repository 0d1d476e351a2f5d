//! Why notify does not start, and the problems with which it answers.

use crate::domain::Rejection;
use axum::http::StatusCode;
use banyan_runtime::http::Problem;
use banyan_store::{Fault, Refusal};
use thiserror::Error;

/// Why notify does not start. No port is bound by it.
#[derive(Debug, Error)]
pub enum StartError {
    /// An option of `[notify]` cannot work.
    #[error("[notify] {0}")]
    Config(String),
    /// The monolith's time zone is not known.
    #[error("[monolith] timezone {0}")]
    Timezone(String),
    /// The monolith's application key cannot be used.
    #[error("the monolith's app key is not base64 behind `base64:`")]
    AppKey,
    /// The capability is declared with other tables than this service has.
    #[error("capability `{0}`: {1}")]
    Capability(String, String),
    /// The database cannot be used.
    #[error("the database of notify: {0}")]
    Database(#[from] Fault),
}

/// The problem behind a refusal. Accepted commands never get here; what a user did wrong is answered in the
/// monolith's own words before.
pub fn problem(refusal: Refusal<Rejection>) -> Problem {
    match refusal {
        Refusal::NoLease => no_lease(),
        Refusal::NotOwner(bucket) => {
            let detail =
                format!("this service does not own bucket {bucket} in the owner epoch of the request");
            Problem::new(StatusCode::CONFLICT, "not_owner", detail)
        }
        Refusal::KeyReused => {
            Problem::new(StatusCode::CONFLICT, "key_reused", "the key belongs to another request")
        }
        Refusal::Rejected(rejection) => rejected(rejection),
        Refusal::Fault(fault) => fault_problem(&fault),
    }
}

fn no_lease() -> Problem {
    let detail = "this service has no valid lease, so that it writes nothing; control has to answer it";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_lease", detail).retry_after(1)
}

fn rejected(rejection: Rejection) -> Problem {
    let conflict = |code, detail: String| Problem::new(StatusCode::CONFLICT, code, detail);
    match rejection {
        Rejection::NotificationNotFound => {
            Problem::new(StatusCode::NOT_FOUND, "not_found", "Notification not found.")
        }
        Rejection::NoIds(table) => {
            let detail = format!("the ids of {table} are used up; sync has to lease more");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_ids", detail).retry_after(1)
        }
        Rejection::MailNotDue => conflict("mail_not_due", "the mail is not due, or is settled".into()),
        Rejection::MailInFlight => conflict("mail_in_flight", "another mail of the user is under way".into()),
        Rejection::PositionMismatch(position) => {
            let stands = position.map_or("the beginning".into(), |p| format!("{} {}", p.file, p.offset));
            conflict("position_mismatch", format!("this service stands at {stands}"))
        }
        Rejection::NoLease => no_lease(),
        Rejection::Empty => {
            let detail = "this service's database has no rows of the monolith, so that it opens no bucket; \
                          restore it, or go back without the service";
            conflict("empty_database", detail.into())
        }
        Rejection::Malformed(detail) => Problem::new(StatusCode::BAD_REQUEST, "malformed_request", detail),
        Rejection::LetterNotFound => {
            Problem::new(StatusCode::NOT_FOUND, "letter_not_found", "there is no such open letter")
        }
        Rejection::LetterStays(cause) => conflict("letter_stays", cause),
        Rejection::BlockRefused => conflict("block_refused", "the block overlaps ids that are unused".into()),
    }
}

/// The problem of a database that fails.
pub fn fault_problem(fault: &Fault) -> Problem {
    let detail = fault.to_string();
    let unavailable =
        |code| Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail.clone()).retry_after(1);
    match fault {
        Fault::Busy => unavailable("overloaded"),
        Fault::Stopped => unavailable("stopping"),
        Fault::Full(_) | Fault::ReadOnly(_) | Fault::Locked(_) => unavailable("storage_unavailable"),
        Fault::Unknown(_) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "outcome_unknown", detail),
        Fault::Data(_) | Fault::Broken(_) => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "storage_fault", detail)
        }
    }
}
