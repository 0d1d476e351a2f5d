//! The messages between roles: JSON over HTTP/1.1 on the roles' own ports, in one process as in many.
//!
//! Every role-to-role request carries the header [`ROLE_TOKEN`]. Errors are `application/problem+json`
//! with a stable `code`.

pub mod conflict;
pub mod exposure;
pub mod identity;
pub mod import;
pub mod lease;
pub mod migration;
pub mod monolith;
pub mod target;

/// Header with the shared secret of the roles; requests without it are answered 401.
pub const ROLE_TOKEN: &str = "banyan-role-token";
/// Header from gateway to service: the internal JWT that names the user; absent where there is none.
pub const IDENTITY: &str = "banyan-identity";
/// Header from gateway to service: the subject whose bucket the gateway resolved.
pub const SUBJECT: &str = "banyan-subject";
/// Header from gateway to service: the owner epoch under which the gateway routed a write.
pub const OWNER_EPOCH: &str = "banyan-owner-epoch";
/// Header from service to gateway: the outbox position of the answered write.
pub const POSITION: &str = "banyan-position";
/// Header from service to gateway beside [`POSITION`]: the incarnation of the outbox that numbers it.
pub const INCARNATION: &str = "banyan-incarnation";
/// Prefix of every header that a client may not send and the gateway drops.
pub const RESERVED_HEADER_PREFIX: &str = "banyan-";
