//! A pseudo-terminal: `script` runs a command on one and keeps what the command shows in a file.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use banyan_runtime::clock;

/// How long anything may take to appear: starting all servers on a loaded machine is the longest.
const PATIENCE: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(20);

/// A command on a terminal.
pub struct Terminal {
    script: Child,
    screen: PathBuf,
    seen: usize,
}

impl Terminal {
    /// Runs a shell command on a terminal; `None` where this machine has no `script`.
    pub fn run(command: &str, folder: &Path) -> Option<Self> {
        let screen = folder.join("screen");
        let script = Command::new("script")
            .args(["--quiet", "--return", "--flush", "--command", command])
            .arg(&screen)
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm")
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        match script {
            Ok(script) => Some(Self { script, screen, seen: 0 }),
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "skipped: script: {error} (package bsdutils)");
                None
            }
        }
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        let keyboard = self.script.stdin.as_mut().unwrap();
        keyboard.write_all(keys.as_bytes()).unwrap();
        keyboard.flush().unwrap();
    }

    /// Waits until a text appears after what was seen before.
    pub fn see(&mut self, text: &str) {
        let start = clock::instant();
        loop {
            let shown = self.shown();
            if let Some(at) = shown[self.seen.min(shown.len())..].find(text) {
                self.seen += at + text.len();
                return;
            }
            let ended = self.script.try_wait().unwrap().is_some();
            let over = ended || start.elapsed() > PATIENCE;
            assert!(!over || self.shown() != shown, "`{text}` does not appear:\n{}", tail(&shown));
            std::thread::sleep(POLL);
        }
    }

    /// Waits for the end of the command.
    pub fn end(mut self) -> (ExitStatus, String) {
        let start = clock::instant();
        loop {
            if let Some(status) = self.script.try_wait().unwrap() {
                return (status, self.shown());
            }
            assert!(start.elapsed() < PATIENCE, "the command does not end:\n{}", tail(&self.shown()));
            std::thread::sleep(POLL);
        }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.screen).unwrap_or_default()).into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The hangup of the terminal ends the command.
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

fn tail(shown: &str) -> String {
    let lines: Vec<&str> = shown.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
