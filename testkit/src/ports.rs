//! Free ports of the loopback interface.

use anyhow::bail;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Below the range that the kernel gives to outgoing connections (`ip_local_port_range`, 32768 and up), so
/// that none of those takes a port between its choice and its use.
const RANGE: Range<u16> = 10_240..32_768;
const ATTEMPTS: usize = 1000;

/// Ports that this process has handed out: none twice.
static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A TCP port of 127.0.0.1 that nothing listens on, and that this process gets only once.
///
/// # Errors
/// None was found in a thousand attempts.
pub fn free_port() -> anyhow::Result<u16> {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..ATTEMPTS {
        let port = rand::random_range(RANGE);
        if !taken.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            taken.insert(port);
            return Ok(port);
        }
    }
    bail!("no free port among {ATTEMPTS} of {RANGE:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_free_and_given_once() {
        let ports: Vec<u16> = (0..100).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len());
        for port in ports {
            assert!(RANGE.contains(&port));
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }
}
