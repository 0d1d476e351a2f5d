//! Gateways and services to control: leases, acknowledgements and the ownership table.

use super::exposure::Answers;
use crate::{BucketSet, OwnershipTable};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `POST /v1/leases`: takes or renews a lease; answered at once when the table is newer than
/// `seen_version`, else after at most `wait_ms`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRequest {
    /// Who asks: unique per process start.
    pub holder: String,
    /// What it is.
    pub kind: LeaseKind,
    /// The version by which the holder routes *all* new requests; 0 before the first grant.
    pub seen_version: u64,
    /// By capability: buckets not `steady` in `seen_version` for which a write admitted under an
    /// earlier version is still in flight. A gateway renews at once when this shrinks.
    pub undrained: BTreeMap<String, BucketSet>,
    /// How long control may keep the request open, at most a third of the lease.
    pub wait_ms: u64,
    /// By capability of [`LeaseGrant::forced`]: writes that the holder has acknowledged and that the monolith
    /// may not have. Said once no write of a moving bucket is in flight.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<String, Answers>,
    /// By capability: writes that were acknowledged though the other side had not committed them in time.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub degraded: BTreeMap<String, u64>,
}

/// The kinds of lease holder.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum LeaseKind {
    /// A gateway: must acknowledge every version that changes a phase.
    Gateway,
    /// A service that owns buckets of this capability.
    Service {
        /// The capability.
        capability: String,
    },
}

/// The answer: grant and table are one commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseGrant {
    /// The lease lasts this long from *before* the request was sent, on a boot-time clock.
    pub lease_ms: u64,
    /// The current version.
    pub version: u64,
    /// The table, where it is newer than `seen_version`.
    pub table: Option<OwnershipTable>,
    /// The capabilities whose service is given up: gateways tell their [`LeaseRequest::answers`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forced: Vec<String>,
}

/// `DELETE /v1/leases/{holder}`: a drained holder gives its lease back; 204.
pub const LEASES_PATH: &str = "/v1/leases";
