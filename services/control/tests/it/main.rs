//! control over HTTP with a journal on disk, between a sync, a service and gateways that behave like the real
//! ones, guards included.
#![cfg(test)]

mod api;
mod failures;
mod forced;
mod gateway;
mod moves;
mod peers;
mod restarts;
mod stragglers;
mod world;
