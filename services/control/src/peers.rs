//! The coordinator's calls to sync and to the service, over HTTP, each with a bound.
//!
//! No call is repeated here, and every failure is an [`Answer::Failed`]: what it means depends on the step.

use crate::coordinator::effect::{Answer, Call};
use banyan_core::protocol::monolith::{Applied, MarkReached};
use banyan_runtime::client::{CallError, RoleClient};
use std::future::Future;
use std::time::Duration;

/// The roles that a capability's coordinator calls.
#[derive(Clone, Debug)]
pub struct Peers {
    /// The capability.
    pub capability: String,
    /// Sync.
    pub sync: RoleClient,
    /// The capability's service.
    pub service: RoleClient,
    /// The bound of a call, beyond what it is asked to wait.
    pub call_max: Duration,
}

impl Peers {
    /// Makes a call.
    pub fn call(&self, call: Call) -> impl Future<Output = Answer> + Send + 'static {
        let peers = self.clone();
        async move { peers.ask(call).await.unwrap_or_else(|error| Answer::Failed(error.to_string())) }
    }

    async fn ask(&self, call: Call) -> Result<Answer, CallError> {
        let asked_ms = match &call {
            Call::TakeGates(take) => take.patience_ms,
            Call::WaitMark(wait) => wait.wait_ms,
            _ => 0,
        };
        let bound = self.call_max + Duration::from_millis(asked_ms);
        let (sync, service) = (self.sync.timeout(bound), self.service.timeout(bound));
        let applied = |applied: Applied| Answer::Applied(applied.applied);
        Ok(match call {
            Call::Status => {
                let path = format!("/v1/status?capability={}", self.capability);
                Answer::Status(Box::new(sync.get(&path).await?))
            }
            Call::Ownership => Answer::Ownership(service.get("/v1/ownership").await?),
            Call::TakeGates(take) => Answer::Gates(sync.post("/v1/gates/take", &take).await?),
            Call::ReleaseGates(release) => {
                sync.post::<_, ()>("/v1/gates/release", &release).await?;
                Answer::Released
            }
            Call::SetFence(set) => applied(sync.post("/v1/fence/set", &set).await?),
            Call::WaitMark(wait) => {
                let MarkReached { reached, dead_letters } = sync.post("/v1/marks/wait", &wait).await?;
                if dead_letters.is_empty() { Answer::Reached(reached) } else { Answer::Parked(dead_letters) }
            }
            Call::Open(open) => applied(service.post("/v1/ownership/open", &open).await?),
            Call::Close(close) => applied(service.post("/v1/ownership/close", &close).await?),
        })
    }
}
