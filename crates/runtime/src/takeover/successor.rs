//! The side of the process that takes over, and of the operator who asks for it.

use super::wire::{receive, receive_socket, send};
use super::{Fault, Message, Named, PROTOCOL};
use std::io;
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;

/// The running process, which goes on until this one accepts.
pub struct Predecessor {
    stream: UnixStream,
}

impl Predecessor {
    /// Asks the process at this door for its sockets; `None` where there is none.
    ///
    /// # Errors
    /// It refuses, or the connection fails.
    pub async fn ask(door: &Path) -> Result<Option<(Self, Vec<Named>)>, Fault> {
        let Some(mut stream) = connect(door).await? else { return Ok(None) };
        send(&mut stream, &Message::Ask { protocol: PROTOCOL }).await?;
        let names = match receive(&mut stream).await? {
            Message::Sockets { names } => names,
            other => return Err(refusal(other)),
        };
        let mut sockets = Vec::with_capacity(names.len());
        for name in names {
            sockets.push(Named { name, socket: receive_socket(&stream).await? });
        }
        Ok(Some((Self { stream }, sockets)))
    }

    /// Waits until this process can serve, says so, and resolves when it is to accept: it was told to, or the
    /// running process is gone.
    ///
    /// # Errors
    /// The running process has refused and goes on; this one must not accept.
    pub async fn wait_for(&mut self, ready: impl Future<Output = ()>) -> Result<(), Fault> {
        let said = tokio::select! {
            () = ready => None,
            said = receive(&mut self.stream) => Some(said),
        };
        let said = match said {
            Some(said) => said,
            None => match send(&mut self.stream, &Message::Ready).await {
                Ok(()) => receive(&mut self.stream).await,
                Err(fault) => Err(fault),
            },
        };
        match said {
            Ok(Message::Yours) => Ok(()),
            Err(Fault::Gone) => {
                tracing::warn!("the process that was to be replaced has ended by itself");
                Ok(())
            }
            Ok(other) => Err(refusal(other)),
            Err(fault) => Err(fault),
        }
    }

    /// Says that this process accepts.
    pub async fn accepting(mut self) {
        // One that is gone need not know.
        let _ = send(&mut self.stream, &Message::Accepting).await;
    }

    /// Has the process at this door start another binary in its place, or its own anew; the process that accepts
    /// then. `None` where there is none.
    ///
    /// # Errors
    /// It refuses, or the upgrade failed: the running process goes on.
    pub async fn upgrade(door: &Path, binary: Option<PathBuf>) -> Result<Option<u32>, Fault> {
        let Some(mut stream) = connect(door).await? else { return Ok(None) };
        send(&mut stream, &Message::Upgrade { binary }).await?;
        match receive(&mut stream).await? {
            Message::Upgraded { pid } => Ok(Some(pid)),
            other => Err(refusal(other)),
        }
    }
}

fn refusal(message: Message) -> Fault {
    match message {
        Message::Refused { reason } => Fault::Refused(reason),
        other => Fault::Unexpected(format!("{other:?}")),
    }
}

/// A door without anybody behind it is left by a process that has ended.
async fn connect(door: &Path) -> Result<Option<UnixStream>, Fault> {
    match UnixStream::connect(door).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
            _ => Err(Fault::Io(error)),
        },
    }
}
