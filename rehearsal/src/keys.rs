//! Keys that act while the rehearsal runs, where it has a terminal.
//!
//! The terminal is asked not to wait for whole lines and not to echo; Ctrl-C goes on to mean what it means.
//! Its settings come back when [`Keys`] is dropped: at the end, after Ctrl-C, in a panic.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use rustix::termios::{tcgetattr, tcgetpgrp, tcsetattr};
use std::fs::File;
use std::io::{ErrorKind, IsTerminal as _, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use tokio::sync::mpsc::{self, Receiver, Sender};

/// Keys that wait until they can act.
const KEYS_MAX: usize = 16;
/// How often the reader looks whether it is to stop, in nanoseconds.
const LOOK_NS: i64 = 100_000_000;

/// What the keys do, for the last line of the screen.
pub const HELP: &str =
    "keys: r roll back   a advance   p provider outage   k kill a role   s spike ×10   q finish and audit";

/// A key that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Back to 0 %.
    RollBack,
    /// One step up.
    Advance,
    /// The payment provider hangs, or answers again.
    Outage,
    /// A role is killed.
    Kill,
    /// Ten times the requests for some seconds.
    Spike,
    /// The load ends; audit and scorecard follow.
    Finish,
}

impl Key {
    fn of(byte: u8) -> Option<Self> {
        match byte.to_ascii_lowercase() {
            b'r' => Some(Self::RollBack),
            b'a' => Some(Self::Advance),
            b'p' => Some(Self::Outage),
            b'k' => Some(Self::Kill),
            b's' => Some(Self::Spike),
            b'q' => Some(Self::Finish),
            _ => None,
        }
    }
}

/// The keyboard, where there is one.
pub struct Keys {
    pressed: Option<Receiver<Key>>,
    /// Reads until it is dropped.
    _terminal: Option<Terminal>,
}

/// The terminal while keys are read one by one.
struct Terminal {
    tty: File,
    before: Termios,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Keys {
    /// Takes the terminal over where input and output are one and this process is in its foreground.
    ///
    /// # Errors
    /// The terminal cannot be set up.
    pub fn open() -> std::io::Result<Self> {
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return Ok(Self { pressed: None, _terminal: None });
        }
        let tty = File::open("/dev/tty")?;
        // A process in the background would be stopped for touching the terminal.
        if tcgetpgrp(&tty)? != getpgrp() {
            return Ok(Self { pressed: None, _terminal: None });
        }
        let before = tcgetattr(&tty)?;
        let mut by_key = before.clone();
        by_key.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        by_key.special_codes[SpecialCodeIndex::VMIN] = 1;
        by_key.special_codes[SpecialCodeIndex::VTIME] = 0;
        let reading = tty.try_clone()?;
        tcsetattr(&tty, OptionalActions::Now, &by_key)?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut terminal = Terminal { tty, before, stop: Arc::clone(&stop), reader: None };
        let (sender, pressed) = mpsc::channel(KEYS_MAX);
        let reader = std::thread::Builder::new().name("keys".into());
        terminal.reader = Some(reader.spawn(move || read(&reading, &sender, &stop))?);
        Ok(Self { pressed: Some(pressed), _terminal: Some(terminal) })
    }

    /// Whether there is a keyboard.
    pub fn are_there(&self) -> bool {
        self.pressed.is_some()
    }

    /// The next key that means something; never, where there is no keyboard or it went away. No key is lost
    /// where the caller stops waiting.
    pub async fn next(&mut self) -> Key {
        if let Some(pressed) = &mut self.pressed
            && let Some(key) = pressed.recv().await
        {
            return key;
        }
        std::future::pending().await
    }
}

/// Hands keys on until it is told to stop or the terminal goes away.
fn read(mut tty: &File, sender: &Sender<Key>, stop: &AtomicBool) {
    let look = Timespec { tv_sec: 0, tv_nsec: LOOK_NS };
    while !stop.load(Ordering::SeqCst) {
        let mut events = [PollFd::new(tty, PollFlags::IN)];
        match poll(&mut events, Some(&look)) {
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) if events[0].revents().contains(PollFlags::IN) => {}
            _ => return,
        }
        let mut byte = [0];
        match tty.read(&mut byte) {
            Ok(1) => {
                // More keys than anybody presses in a moment are left out.
                let _ = Key::of(byte[0]).map(|key| sender.try_send(key));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // A terminal that went away needs nothing back.
        let _ = tcsetattr(&self.tty, OptionalActions::Now, &self.before);
        let _ = self.reader.take().map(JoinHandle::join);
    }
}
