//! From a service's answer to a write to the client's: what has to be true before it leaves.
//!
//! With `dual_write = "wait"` the monolith's database has committed the write. Where it has not in time, and
//! by default, the write stands in the durable record, from which a forced rollback knows that it was
//! acknowledged. An answer without a place in an outbox has written nothing.

use banyan_core::Bucket;
use banyan_core::capability::DualWrite;
use banyan_core::protocol::exposure::{AnsweredWrite, Reversed};
use banyan_core::protocol::{INCARNATION, POSITION};
use banyan_runtime::clock;
use banyan_runtime::http::Problem;
use http::{HeaderMap, StatusCode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::capability::Call;
use crate::error::{Answer, OUTCOME_UNKNOWN};
use crate::metrics::DEGRADED;
use crate::proxy::Proxy;
use crate::reversal::Reversal;

/// The longest reference that is noted, in bytes.
const REFERENCE_BYTES_MAX: usize = 200;
/// The header that names a write where its body does not.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// What a capability's acknowledgements go by.
#[derive(Debug)]
pub struct Acknowledging {
    /// How far the monolith holds the outbox.
    pub reversal: Reversal,
    /// Writes that were acknowledged though the monolith had not committed them in time.
    pub degraded: AtomicU64,
}

/// The place in a service's outbox behind a write, as its answer names it.
#[derive(Clone, Debug)]
pub struct Standing(Reversed);

impl Standing {
    /// Reads it.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        let position = text(POSITION)?.parse().ok()?;
        Some(Self(Reversed { incarnation: text(INCARNATION).unwrap_or_default().to_owned(), position }))
    }
}

impl Proxy {
    /// Makes sure that a service's answer to a write may leave.
    ///
    /// # Errors
    /// It may not; the write was done at the service.
    pub async fn acknowledge(
        &self,
        call: &Call<'_>,
        (subject, answer): (&str, Answer),
    ) -> Result<Answer, Problem> {
        let Some(Standing(place)) = answer.extensions().get::<Standing>().cloned() else { return Ok(answer) };
        let capability = call.found.capability;
        let of = &self.shared.acknowledging[call.found.index.0];
        if capability.dual_write == DualWrite::Wait {
            let limit = Duration::from_millis(self.shared.config.dual_write_ms_max);
            if of.reversal.reach(&place, limit).await {
                return Ok(answer);
            }
            DEGRADED.with_label_values(&[&capability.name]).inc();
            if capability.strict {
                return Err(unknown("the monolith's database has not committed it in time"));
            }
            of.degraded.fetch_add(1, Ordering::Relaxed);
        } else if of.reversal.has(&place) {
            return Ok(answer);
        }
        let write = AnsweredWrite {
            bucket: Bucket::of(subject),
            route: format!("{} {}", call.found.route.method, call.found.route.path),
            at_ms: clock::unix_ms(),
            reference: reference(call),
            incarnation: place.incarnation,
            position: place.position,
        };
        match self.shared.record.note(&capability.name, write).await {
            Ok(()) => Ok(answer),
            Err(error) => {
                tracing::error!(%error, "a write was done and cannot be acknowledged");
                Err(unknown("the gateway cannot note that it acknowledges it"))
            }
        }
    }
}

fn reference(call: &Call<'_>) -> Option<String> {
    let header = |name: &str| call.head.headers.get(name)?.to_str().ok();
    let named = |name: &str| call.fields.get(name).or_else(|| header(name)).filter(|text| !text.is_empty());
    let declared = call.found.capability.references.iter().find_map(|name| named(name));
    let text = declared.or_else(|| header(IDEMPOTENCY_KEY))?;
    Some(text.chars().take(REFERENCE_BYTES_MAX / 4).collect())
}

fn unknown(cause: &str) -> Problem {
    let detail = format!("the service has done the write, but {cause}; it may be lost if the service is");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, OUTCOME_UNKNOWN, detail)
}
