//! What the rehearsal plays, on real servers.
#![cfg(test)]

mod losing;
