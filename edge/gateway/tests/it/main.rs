//! A real gateway on loopback before real HTTP servers: a monolith, a service, and peers that speak the
//! protocol of auth and control.
#![cfg(test)]

mod attacks;
mod bounds;
mod capability;
mod client;
mod framing;
mod holds;
mod leases;
mod origin;
mod peers;
mod pooling;
mod raw_origin;
mod shutdown;
mod spellings;
mod streaming;
mod world;
