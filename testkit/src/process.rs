//! One started program with the processes that it starts itself: its log, its CPU time, its end.

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::deadline::wait_for;
use crate::spawner::{self, OnParentDeath};

/// The kernel counts CPU time for /proc in ticks of 10 ms on every Linux (proc(5), `USER_HZ`).
const MS_PER_TICK: u64 = 10;

/// A running program. It has a process group of its own, which is killed when the value is dropped; where
/// this whole process dies, the kernel kills the program.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    group: Pid,
    /// The end was taken note of, from when on another process may get the id.
    reaped: bool,
    log: PathBuf,
}

impl Process {
    /// Starts a program; what it says is appended to `NAME.log` in the folder. Program, arguments, working
    /// folder and changed environment variables of the command count, and nothing else of it.
    ///
    /// # Errors
    /// The program is missing, or the log cannot be written.
    pub fn spawn(name: &str, command: Command, folder: &Path) -> anyhow::Result<Self> {
        Self::spawn_bound(name, &command, (folder, OnParentDeath::Kill))
    }

    /// Starts a program that ends its own children when it is told to terminate.
    ///
    /// # Errors
    /// As [`Self::spawn`].
    pub(crate) fn spawn_master(name: &str, command: &Command, folder: &Path) -> anyhow::Result<Self> {
        Self::spawn_bound(name, command, (folder, OnParentDeath::Terminate))
    }

    fn spawn_bound(
        name: &str,
        command: &Command,
        (folder, signal): (&Path, OnParentDeath),
    ) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = OpenOptions::new().create(true).append(true).open(&log);
        let file = file.with_context(|| format!("the log {} of {name}", log.display()))?;
        let mut bound = spawner::bound(command, signal)?;
        bound.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        let child = spawner::spawn(bound).with_context(|| format!("starting {name}"))?;
        let group = Pid::from_child(&child);
        Ok(Self { name: name.to_owned(), child, group, reaped: false, log })
    }

    /// CPU milliseconds, user and system, of the program and all processes of its group, also of those that
    /// have ended.
    ///
    /// # Errors
    /// The program itself has ended.
    pub fn cpu_ms(&self) -> anyhow::Result<u64> {
        if !self.is_running() {
            bail!("{} has ended; the end of its log:\n{}", self.name, self.log_tail(5));
        }
        let group = self.group.as_raw_nonzero().get();
        let mut ticks = 0;
        for entry in fs::read_dir("/proc")? {
            // A process may end between the listing and the look at it; its parent then counts its time.
            let Ok(stat) = fs::read_to_string(entry?.path().join("stat")) else { continue };
            ticks += ticks_in(&stat, group).unwrap_or(0);
        }
        Ok(ticks * MS_PER_TICK)
    }

    /// The last lines of what the program said.
    pub fn log_tail(&self, lines: usize) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Whether the program has not ended.
    pub fn is_running(&self) -> bool {
        // Looking leaves a zombie, so that nobody else gets the id before the group is killed.
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !self.reaped && matches!(waitid(WaitId::Pid(self.group), look), Ok(None))
    }

    /// Kills the whole group at once and waits for its end.
    pub fn kill(&mut self) {
        if !self.reaped {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
            self.reaped = true;
        }
    }

    /// Asks the program to end and waits for it.
    ///
    /// # Errors
    /// It has not ended in that time; it still runs then.
    pub fn terminate(&mut self, patience: Duration) -> anyhow::Result<()> {
        self.signal(Signal::TERM);
        wait_for(&format!("the end of {}", self.name), patience, || Ok((!self.is_running()).then_some(())))?;
        self.kill();
        Ok(())
    }

    /// Sends a signal to every process of the group; one that has ended gets none.
    pub fn signal(&self, signal: Signal) {
        let _ = kill_process_group(self.group, signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The CPU ticks of one line of `/proc/PID/stat`, its ended children's included, where it is of the group.
fn ticks_in(stat: &str, group: i32) -> Option<u64> {
    // The name is in parentheses and may hold anything: fields count from behind the last of them.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field).and_then(|text| text.parse::<i64>().ok());
    // proc(5) counts from 1 and begins with the id and the name: 5 is the group, 14 to 17 the times.
    let at = |field: usize| number(field - 3);
    if at(5)? != i64::from(group) {
        return None;
    }
    (14..=17).map(|field| at(field).and_then(|ticks| u64::try_from(ticks).ok())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> (tempfile::TempDir, Process) {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]).env("WORD", "from the environment");
        let process = Process::spawn("shell", command, folder.path()).unwrap();
        (folder, process)
    }

    fn until(what: &str, condition: impl Fn() -> bool) {
        wait_for(what, PATIENCE, || Ok(condition().then_some(()))).unwrap();
    }

    /// Zombies have no command line: they do not run.
    fn runs(pid: &str) -> bool {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
    }

    #[test]
    fn what_a_program_says_is_in_its_log() {
        let (_folder, process) = shell("echo one; echo $WORD >&2; exec sleep 60");
        until("two lines", || process.log_tail(9) == "one\nfrom the environment");
        assert_eq!(process.log_tail(1), "from the environment");
        assert!(process.is_running());
    }

    #[test]
    fn children_of_the_program_end_with_it() {
        let (_folder, process) = shell("sleep 60 & echo $!; wait");
        until("the child", || !process.log_tail(1).is_empty());
        let child = process.log_tail(1);
        assert!(runs(&child));
        drop(process);
        until("its end", || !runs(&child));
    }

    #[test]
    fn the_kernel_ends_children_of_a_process_that_is_killed() {
        if let Some(note) = std::env::var_os("BANYAN_TESTKIT_VICTIM") {
            let (_folder, process) = shell("exec sleep 60");
            fs::write(note, process.group.as_raw_nonzero().to_string()).unwrap();
            std::thread::park_timeout(PATIENCE);
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("note");
        let mut victim = Command::new(std::env::current_exe().unwrap());
        victim.args(["--exact", "process::tests::the_kernel_ends_children_of_a_process_that_is_killed"]);
        let mut victim = victim.env("BANYAN_TESTKIT_VICTIM", &note).stdout(Stdio::null()).spawn().unwrap();
        let noted = || fs::read_to_string(&note).is_ok_and(|text| runs(&text));
        until("the child of the victim", noted);
        let child = fs::read_to_string(&note).unwrap();
        victim.kill().unwrap();
        victim.wait().unwrap();
        until("its end", || !runs(&child));
    }

    #[test]
    fn cpu_time_counts_children_that_have_ended() {
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let (_folder, process) = shell(&format!("sh -c '{busy}'; echo done; exec sleep 60"));
        until("the child's end", || process.log_tail(1) == "done");
        let used = process.cpu_ms().unwrap();
        assert!((20..60_000).contains(&used), "{used}");
    }

    #[test]
    fn a_program_that_has_ended_says_so() {
        let (_folder, mut process) = shell("echo over");
        until("the end", || !process.is_running());
        let error = process.cpu_ms().unwrap_err().to_string();
        assert!(error.contains("shell has ended") && error.contains("over"), "{error}");
        process.kill();
        assert!(!process.is_running());
    }

    #[test]
    fn a_program_is_asked_before_it_is_killed() {
        let (_folder, mut process) =
            shell("trap 'echo asked; exit' TERM; echo up; while :; do sleep 0.05; done");
        until("the start", || process.log_tail(1) == "up");
        process.terminate(PATIENCE).unwrap();
        assert_eq!(process.log_tail(1), "asked");
    }

    #[test]
    fn a_missing_program_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = Process::spawn("x", Command::new("no-such-program"), folder.path()).unwrap_err();
        assert!(format!("{error:#}").contains("no-such-program"), "{error:#}");
    }

    #[test]
    fn only_processes_of_the_group_count() {
        let stat = "7 (a) b) S 1 42 42 0 -1 4194560 100 0 0 0 3 4 5 6 20 0 1 0 1 1 1";
        assert_eq!(ticks_in(stat, 42), Some(18));
        assert_eq!(ticks_in(stat, 41), None);
        assert_eq!(ticks_in("", 42), None);
    }
}
