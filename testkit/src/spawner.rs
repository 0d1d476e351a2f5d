//! The thread that starts all children.
//!
//! The kernel's parent-death signal (prctl(2), `PR_SET_PDEATHSIG`) comes when the *thread* that started a
//! child ends. Tests run in threads that end; this one lasts as long as the process. The signal is set by
//! `setpriv`, which then becomes the program, because setting it from here would need unsafe code.

use anyhow::{Context as _, anyhow};
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

use crate::programs;

/// What the kernel sends to a child whose parent has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnParentDeath {
    /// For a program of one process.
    Kill,
    /// For a program with children of its own, which it ends when it is told to.
    Terminate,
}

type Order = (Command, Sender<std::io::Result<Child>>);

static SPAWNER: OnceLock<Sender<Order>> = OnceLock::new();

/// Starts the command by the thread that lasts.
///
/// # Errors
/// It cannot be started.
pub(crate) fn spawn(command: Command) -> anyhow::Result<Child> {
    let (answer, answered) = channel();
    let name = programs::name(&command);
    spawner().send((command, answer)).map_err(|_| anyhow!("the spawner has ended"))?;
    answered.recv().context("the spawner has ended")?.with_context(|| format!("{name} cannot be started"))
}

/// The same program, arguments, environment and folder, ended by the kernel when its parent dies.
///
/// # Errors
/// The program or `setpriv` is missing.
pub(crate) fn bound(command: &Command, signal: OnParentDeath) -> anyhow::Result<Command> {
    let setpriv = programs::first(&["setpriv"])?;
    let program = command.get_program().to_str().context("the program's name is no text")?;
    let program = programs::first(&[program])?;
    let signal = match signal {
        OnParentDeath::Kill => "KILL",
        OnParentDeath::Terminate => "TERM",
    };
    let mut bound = Command::new(setpriv);
    bound.args(["--pdeathsig", signal, "--"]).arg(program).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(key, value),
            None => bound.env_remove(key),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        bound.current_dir(folder);
    }
    Ok(bound)
}

fn spawner() -> Sender<Order> {
    let start = || {
        let (sender, orders) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in orders {
                // A caller that no longer waits has its child killed here.
                if let Err(unheard) = answer.send(command.spawn())
                    && let Ok(mut child) = unheard.0
                {
                    let _ = child.kill();
                }
            }
        });
        sender
    };
    SPAWNER.get_or_init(start).clone()
}
