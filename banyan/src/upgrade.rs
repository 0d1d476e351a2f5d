//! Another process in the place of this gateway: starts it, hands the sockets over, one at a time.
//!
//! Whatever fails before the new process accepts leaves this one as it was, and is told to who asked and to the
//! log. A process with other roles refuses: their databases have one writer, so they cannot run twice.

use crate::reload::Reloader;
use anyhow::Context as _;
use banyan_runtime::takeover::{Call, Caller, Door, Named};
use banyan_runtime::tasks::Shutdown;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::signal::unix::Signal;

/// The name of the sockets for clients.
pub const CLIENTS: &str = "clients";
/// The name of the socket of the admin port.
pub const ADMIN: &str = "admin";
/// The flag with which a successor is started.
const TAKE_OVER: &str = "--take-over";
/// How long a successor that was refused may take to give back what it holds.
const LEAVE_MAX: Duration = Duration::from_secs(5);

const BUSY: &str = "an upgrade is running already";
const TOGETHER: &str = "the gateway shares its process with other roles, whose databases have one writer: they \
    cannot run twice; run the roles apart (`banyan run ROLE`) to upgrade the gateway, or restart";
const ENDING: &str = "the running process is ending";

/// How this process was started.
pub struct Launch {
    binary: PathBuf,
    arguments: Vec<OsString>,
}

impl Launch {
    /// The binary's path and the arguments. To be asked for at the start: the path of a binary that has been
    /// replaced is no path.
    ///
    /// # Errors
    /// The system does not tell the path.
    pub fn of_this_process() -> anyhow::Result<Self> {
        let binary = std::env::current_exe().context("the path of this binary")?;
        let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
        if !arguments.iter().any(|a| a == TAKE_OVER) {
            arguments.push(TAKE_OVER.into());
        }
        Ok(Self { binary, arguments })
    }

    fn start(&self, binary: Option<PathBuf>) -> Result<Child, String> {
        let binary = binary.unwrap_or_else(|| self.binary.clone());
        let started = Command::new(&binary).args(&self.arguments).stdin(Stdio::null()).spawn();
        started.map_err(|e| format!("cannot start {}: {e}", binary.display()))
    }
}

/// What answers those who want another process in this one's place.
pub struct Upgrades {
    /// Where they call.
    pub door: PathBuf,
    /// What is handed over; `None` where the process has no gateway.
    pub sockets: Option<Vec<Named>>,
    /// Whether the gateway is alone in its process.
    pub is_apart: bool,
    /// How a successor is started.
    pub launch: Launch,
    /// The settings in force.
    pub reloader: Arc<Reloader>,
    /// The request to end.
    pub shutdown: Shutdown,
}

impl Upgrades {
    /// Answers until another process accepts, which it returns, or until shutdown.
    ///
    /// # Errors
    /// The door cannot be opened: there will be no upgrade, and everything else goes on.
    pub async fn serve(self, mut signal: Signal) -> io::Result<Option<u32>> {
        let Some(sockets) = &self.sockets else {
            while self.signalled(&mut signal).await {
                tracing::warn!("only a gateway can be upgraded while it runs");
            }
            return Ok(None);
        };
        let door = Door::open(&self.door)
            .map_err(|e| io::Error::new(e.kind(), format!("no upgrades at {}: {e}", self.door.display())))?;
        loop {
            let call = tokio::select! {
                call = door.call() => Some(call),
                called = self.signalled(&mut signal) => if called { None } else { return Ok(None) },
            };
            match self.answer((&door, sockets), call).await {
                Ok(pid) => return Ok(Some(pid)),
                Err(reason) => tracing::error!(reason, "no upgrade; this process goes on"),
            }
        }
    }

    /// Whether a signal has come, and not shutdown.
    async fn signalled(&self, signal: &mut Signal) -> bool {
        tokio::select! {
            come = signal.recv() => come.is_some(),
            () = self.shutdown.requested() => false,
        }
    }

    async fn answer(&self, (door, sockets): (&Door, &[Named]), call: Option<Call>) -> Result<u32, String> {
        match call {
            Some(Call { mut caller, .. }) if !self.is_apart => {
                caller.refuse(TOGETHER).await;
                Err(TOGETHER.into())
            }
            None if !self.is_apart => Err(TOGETHER.into()),
            None => self.upgrade((door, sockets), None).await,
            Some(Call { mut caller, upgrade: Some(binary) }) => {
                let outcome = self.upgrade((door, sockets), binary).await;
                match &outcome {
                    Ok(pid) => caller.upgraded(*pid).await,
                    Err(reason) => caller.refuse(reason).await,
                }
                outcome
            }
            Some(Call { caller, upgrade: None }) => self.hand_over((door, sockets), caller).await,
        }
    }

    /// Starts a successor and hands over to it; it has ended where this fails.
    async fn upgrade(&self, sockets: (&Door, &[Named]), binary: Option<PathBuf>) -> Result<u32, String> {
        let mut child = self.launch.start(binary)?;
        tracing::info!(pid = child.id(), "a new process was started to take over");
        let outcome = tokio::select! {
            outcome = self.follow(sockets) => outcome,
            ended = child.wait() => {
                let how = ended.map_or_else(|e| e.to_string(), |status| status.to_string());
                return Err(format!("the new process ended before it was ready ({how}); its log says why"));
            }
        };
        if outcome.is_err() && tokio::time::timeout(LEAVE_MAX, child.wait()).await.is_err() {
            // Where it cannot be killed it has ended.
            let _ = child.kill().await;
        }
        outcome
    }

    /// Waits for the successor that was started to ask, and hands over to it.
    async fn follow(&self, (door, sockets): (&Door, &[Named])) -> Result<u32, String> {
        let asked = async {
            loop {
                match door.call().await {
                    Call { caller, upgrade: None } => return caller,
                    Call { mut caller, .. } => caller.refuse(BUSY).await,
                }
            }
        };
        let limit = self.ready_max();
        let caller = tokio::select! {
            asked = tokio::time::timeout(limit, asked) => asked,
            () = self.shutdown.requested() => return Err(ENDING.into()),
        };
        let late = |_| format!("the new process did not ask for the sockets within {} ms", limit.as_millis());
        self.hand_over((door, sockets), caller.map_err(late)?).await
    }

    async fn hand_over(&self, (door, sockets): (&Door, &[Named]), mut caller: Caller) -> Result<u32, String> {
        let pid = caller.pid();
        let outcome = tokio::select! {
            outcome = caller.hand_over(sockets, self.ready_max()) => outcome,
            never = door.refuse_all(BUSY) => match never {},
            () = self.shutdown.requested() => {
                caller.refuse(ENDING).await;
                return Err(ENDING.into());
            }
        };
        outcome.map(|()| pid).map_err(|fault| fault.to_string())
    }

    fn ready_max(&self) -> Duration {
        Duration::from_millis(self.reloader.settings().gateway.upgrade_ms_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Role;
    use crate::commands::init::TEMPLATE;
    use banyan_runtime::takeover::{Fault, Predecessor};
    use banyan_runtime::tasks::{OnError, Tasks};
    use tokio::signal::unix::{SignalKind, signal};

    #[tokio::test]
    async fn a_process_with_other_roles_says_what_to_do_instead() {
        let folder = tempfile::tempdir().unwrap();
        let (door, tasks) = (folder.path().join("gateway.sock"), Tasks::new());
        let settings = toml::from_str(TEMPLATE).unwrap();
        let upgrades = Upgrades {
            door: door.clone(),
            sockets: Some(Vec::new()),
            is_apart: false,
            launch: Launch::of_this_process().unwrap(),
            reloader: Reloader::new("banyan.toml".into(), settings, &Role::ALL),
            shutdown: tasks.shutdown(),
        };
        let serving = upgrades.serve(signal(SignalKind::user_defined2()).unwrap());
        tasks.spawn("upgrades", OnError::StopProcess, async { serving.await.map(|_| ()) });
        let refused = loop {
            match Predecessor::upgrade(&door, None).await {
                // The door has not been opened yet.
                Ok(None) => tokio::task::yield_now().await,
                outcome => break outcome,
            }
        };
        assert!(matches!(refused, Err(Fault::Refused(reason)) if reason.contains("`banyan run ROLE`")));
        let refused = Predecessor::ask(&door).await.err();
        assert!(matches!(refused, Some(Fault::Refused(reason)) if reason.contains("cannot run twice")));
        tasks.stop(LEAVE_MAX).await;
        assert_eq!(tasks.failure(), None);
    }
}
