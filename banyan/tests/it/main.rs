//! The real binary: a gateway in processes of its own, before peers that speak the protocols of control and auth,
//! a monolith and a service.
#![cfg(test)]

mod load;
mod origin;
mod peers;
mod reload;
mod takeover;
mod upgrade;
mod world;
