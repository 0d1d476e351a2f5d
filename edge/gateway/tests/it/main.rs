//! A real gateway on loopback before real HTTP servers: a monolith, a service, and peers that speak the
//! protocol of auth and control.
#![cfg(test)]

mod attacks;
mod bounds;
mod capability;
mod client;
mod events;
mod framing;
mod holds;
mod http2;
mod leases;
mod origin;
mod peers;
mod pooling;
mod raw_http2;
mod raw_origin;
mod secure;
mod shutdown;
mod spellings;
mod streaming;
mod switching;
mod tls;
mod trailers;
mod upgrades;
mod world;
