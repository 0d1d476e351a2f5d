//! Hands listening sockets from a running process to the one that takes its place, so that no connection is
//! refused and none is lost in a queue.
//!
//! The running process opens a [`Door`], a Unix socket; its successor calls there and is given the sockets
//! themselves (`SCM_RIGHTS`, unix(7)). Both then hold the same sockets, and the running one goes on to accept
//! until its successor says that it does:
//!
//! ```text
//! successor                     running process
//!    │ ── Ask ──────────────────▶ │
//!    │ ◀─────────── Sockets, fds ─│
//!    │   (becomes able to serve)  │ accepts
//!    │ ── Ready ────────────────▶ │
//!    │ ◀───────────────── Yours ──│
//!    │ ── Accepting ────────────▶ │
//!    │ accepts                    │ retires
//! ```
//!
//! Invariants: at every moment one of the two accepts; a successor accepts only when it was told `Yours`, or
//! when the running process is gone. Whatever fails before `Accepting` leaves the running process as it was.
//! Only processes of the same user and of root are answered.

mod door;
mod successor;
mod wire;

pub use door::{Call, Caller, Door};
pub use successor::Predecessor;

use serde::{Deserialize, Serialize};
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use thiserror::Error;

/// The version of the protocol. Binaries of different versions cannot follow each other without a restart.
const PROTOCOL: u32 = 1;

/// A listening socket and what it is for.
#[derive(Debug)]
pub struct Named {
    /// What it is for.
    pub name: String,
    /// The socket.
    pub socket: TcpListener,
}

/// What the two processes tell each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Message {
    /// A successor asks for the sockets.
    Ask { protocol: u32 },
    /// An operator asks for an upgrade to this binary, or to the one at the running process's own path.
    Upgrade { binary: Option<PathBuf> },
    /// So many sockets follow, one by one.
    Sockets { names: Vec<String> },
    /// The successor can serve.
    Ready,
    /// The successor is to accept.
    Yours,
    /// The successor accepts.
    Accepting,
    /// The upgrade is done; this process accepts now.
    Upgraded { pid: u32 },
    /// It will not be; the running process goes on.
    Refused { reason: String },
}

/// Why a takeover does not come about.
#[derive(Debug, Error)]
pub enum Fault {
    /// The other process refuses.
    #[error("{0}")]
    Refused(String),
    /// The other process is gone.
    #[error("the other process has ended")]
    Gone,
    /// The other process says what it should not.
    #[error("the other process says {0}")]
    Unexpected(String),
    /// The connection to the other process fails.
    #[error("the connection to the other process: {0}")]
    Io(#[source] io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        match error.kind() {
            BrokenPipe | ConnectionReset | UnexpectedEof => Self::Gone,
            _ => Self::Io(error),
        }
    }
}
