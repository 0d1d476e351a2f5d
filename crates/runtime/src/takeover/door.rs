//! The running process's side.

use super::wire::{receive, send, send_socket};
use super::{Fault, Message, Named, PROTOCOL};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};

/// How long a caller may take to say what it wants.
const WISH_MAX: Duration = Duration::from_secs(5);
/// The pause after a call that could not be taken.
const PAUSE: Duration = Duration::from_millis(50);

/// Where successors and operators call. The newest door at a path is the one that is found.
pub struct Door {
    listener: UnixListener,
}

/// A caller and what it wants.
pub struct Call {
    /// Who waits for an answer.
    pub caller: Caller,
    /// What it wants; `None` where it wants to succeed this process.
    pub upgrade: Option<Option<PathBuf>>,
}

/// Who waits for an answer.
pub struct Caller {
    stream: UnixStream,
    pid: u32,
}

impl Door {
    /// Opens the door at this path, in the place of one that is there.
    ///
    /// # Errors
    /// The folder cannot be written, or the path is too long (108 bytes, unix(7)).
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".{}", std::process::id()));
        let draft = Path::new(&draft);
        match std::fs::remove_file(draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(draft)?;
        std::fs::set_permissions(draft, std::fs::Permissions::from_mode(0o600))?;
        // At no moment is there no door.
        std::fs::rename(draft, path)?;
        Ok(Self { listener })
    }

    /// The next call of a process of the same user, or of root.
    pub async fn call(&self) -> Call {
        loop {
            match self.accept().await {
                Ok(Some(call)) => return call,
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "a call for an upgrade cannot be taken");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Refuses all calls.
    pub async fn refuse_all(&self, reason: &str) -> std::convert::Infallible {
        loop {
            self.call().await.caller.refuse(reason).await;
        }
    }

    async fn accept(&self) -> io::Result<Option<Call>> {
        let mut stream = self.listener.accept().await?.0;
        let peer = stream.peer_cred()?;
        // Whoever is root can have the sockets anyway.
        if ![0, rustix::process::geteuid().as_raw()].contains(&peer.uid()) {
            tracing::warn!(uid = peer.uid(), "a process of another user asked for the sockets");
            return Ok(None);
        }
        let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or_default();
        let wish = tokio::time::timeout(WISH_MAX, receive(&mut stream)).await;
        let mut caller = Caller { stream, pid };
        Ok(match wish {
            Ok(Ok(Message::Ask { protocol: PROTOCOL })) => Some(Call { caller, upgrade: None }),
            Ok(Ok(Message::Upgrade { binary })) => Some(Call { caller, upgrade: Some(binary) }),
            Ok(Ok(other)) => {
                let reason = format!("this process speaks version {PROTOCOL} of the protocol, not {other:?}");
                caller.refuse(&reason).await;
                None
            }
            // Whoever looks whether somebody is there says nothing.
            Ok(Err(_)) | Err(_) => None,
        })
    }
}

impl Caller {
    /// The caller's process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Hands the sockets over, and resolves when the caller accepts on them.
    ///
    /// # Errors
    /// The caller is not ready within `ready_max`, ends, or says what it should not: it has not accepted, and
    /// will not.
    pub async fn hand_over(&mut self, sockets: &[Named], ready_max: Duration) -> Result<(), Fault> {
        match tokio::time::timeout(ready_max, self.until_ready(sockets)).await {
            Ok(outcome) => outcome?,
            Err(_) => {
                let reason = format!("the new process was not ready within {} ms", ready_max.as_millis());
                self.refuse(&reason).await;
                return Err(Fault::Refused(reason));
            }
        }
        // From here on nothing but its end takes the sockets from it: a deadline would leave two that accept.
        send(&mut self.stream, &Message::Yours).await?;
        self.expect(Message::Accepting).await
    }

    /// Says that an upgrade is done.
    pub async fn upgraded(mut self, pid: u32) {
        self.tell(Message::Upgraded { pid }).await;
    }

    /// Refuses.
    pub async fn refuse(&mut self, reason: &str) {
        self.tell(Message::Refused { reason: reason.into() }).await;
    }

    async fn tell(&mut self, message: Message) {
        // One that does not listen any more is not told.
        let _ = tokio::time::timeout(WISH_MAX, send(&mut self.stream, &message)).await;
    }

    async fn until_ready(&mut self, sockets: &[Named]) -> Result<(), Fault> {
        let names = sockets.iter().map(|s| s.name.clone()).collect();
        send(&mut self.stream, &Message::Sockets { names }).await?;
        for Named { socket, .. } in sockets {
            send_socket(&self.stream, socket).await?;
        }
        self.expect(Message::Ready).await
    }

    async fn expect(&mut self, wanted: Message) -> Result<(), Fault> {
        match receive(&mut self.stream).await? {
            message if message == wanted => Ok(()),
            other => Err(Fault::Unexpected(format!("{other:?}"))),
        }
    }
}
