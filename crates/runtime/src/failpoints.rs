//! Failpoints: places between two steps where a test kills the process as `kill -9` or a power cut would.
//!
//! A failpoint is `ROLE.STEP.before` or `ROLE.STEP.after`, the steps are those of [`STEPS`]. One of them is armed by
//! `BANYAN_FAILPOINT=NAME@N`: the process kills itself at the N-th pass. Compiled into debug builds only: a
//! release binary has no such switch, and refuses to start where somebody tries to use it.

#[cfg(debug_assertions)]
use std::sync::OnceLock;
#[cfg(debug_assertions)]
use std::sync::atomic::{AtomicU64, Ordering};
use thiserror::Error;

/// The variable that arms a failpoint.
pub const VARIABLE: &str = "BANYAN_FAILPOINT";

/// Every step that has failpoints, by role.
pub const STEPS: &[(&str, &[&str])] = &[
    (
        "control",
        &[
            "wish",
            "freeze",
            "gates",
            "flip",
            "steady",
            "restoring",
            "restored",
            "status",
            "ownership",
            "take_gates",
            "release_gates",
            "set_fence",
            "wait_mark",
            "open",
            "close",
            "cut",
            "verify",
            "admit",
            "admitted",
        ],
    ),
    ("gateway", &["lease", "hold", "write"]),
    (
        "sync",
        &[
            "take_gates",
            "release_gates",
            "set_fence",
            "forward",
            "reverse",
            "chunk",
            "block",
            "cut",
            "settle",
        ],
    ),
    ("notify", &["batch", "claim", "send", "record"]),
];

/// Why a failpoint cannot be armed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Unarmed {
    /// This binary has none.
    #[error("{VARIABLE} is set, but this is a release build, which has no failpoints; unset it")]
    Release,
    /// There is no such failpoint.
    #[error(
        "{VARIABLE} names `{0}`, which is no failpoint; it must be ROLE.STEP.before or ROLE.STEP.after, then @N"
    )]
    Unknown(String),
}

/// Checks what is to be armed; to be called once, at the start.
///
/// # Errors
/// The variable cannot be followed.
pub fn check() -> Result<(), Unarmed> {
    let Some(wanted) = std::env::var_os(VARIABLE) else { return Ok(()) };
    if cfg!(not(debug_assertions)) {
        return Err(Unarmed::Release);
    }
    let wanted = wanted.to_string_lossy();
    parse(&wanted).map(|_| ()).ok_or_else(|| Unarmed::Unknown(wanted.into_owned()))
}

/// The name and the pass, counted from 1.
fn parse(text: &str) -> Option<(&str, u64)> {
    let (name, pass) = text.split_once('@').unwrap_or((text, "1"));
    let pass = pass.parse().ok().filter(|pass| *pass > 0)?;
    names().any(|known| known == name).then_some((name, pass))
}

/// The names of all failpoints.
pub fn names() -> impl Iterator<Item = String> {
    let steps = STEPS.iter().flat_map(|(role, steps)| steps.iter().map(move |step| (role, step)));
    steps.flat_map(|(role, step)| ["before", "after"].map(|moment| format!("{role}.{step}.{moment}")))
}

/// Passes the failpoint before a step.
#[inline]
pub fn before(role: &str, step: &str) {
    pass(role, step, "before");
}

/// Passes the failpoint after a step.
#[inline]
pub fn after(role: &str, step: &str) {
    pass(role, step, "after");
}

#[cfg(not(debug_assertions))]
#[inline]
fn pass(_: &str, _: &str, _: &str) {}

#[cfg(debug_assertions)]
fn pass(role: &str, step: &str, moment: &str) {
    struct Armed {
        name: String,
        left: AtomicU64,
    }
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    debug_assert!(
        STEPS.iter().any(|(known, steps)| *known == role && steps.contains(&step)),
        "{role}.{step} is missing in the list of failpoints"
    );
    let armed = ARMED.get_or_init(|| {
        let wanted = std::env::var(VARIABLE).ok()?;
        parse(&wanted).map(|(name, pass)| Armed { name: name.to_owned(), left: AtomicU64::new(pass) })
    });
    let Some(armed) = armed else { return };
    let mut parts = armed.name.splitn(3, '.');
    let is_here = [role, step, moment].into_iter().all(|part| parts.next() == Some(part));
    if is_here && armed.left.fetch_sub(1, Ordering::SeqCst) == 1 {
        eprintln!("failpoint {}: this process kills itself", armed.name);
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // The signal is on its way; nothing may happen until it arrives.
        loop {
            std::thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    #[test]
    fn names_are_told_from_nonsense() {
        assert_eq!(parse("control.flip.after"), Some(("control.flip.after", 1)));
        assert_eq!(parse("sync.reverse.before@3"), Some(("sync.reverse.before", 3)));
        for nonsense in ["", "control.flip", "control.flip.during", "x.y.before", "control.flip.after@0"] {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
        assert!(names().count() > 50);
    }

    #[test]
    fn the_armed_pass_kills_and_no_other() {
        if std::env::var_os(VARIABLE).is_some() {
            before("notify", "batch");
            after("notify", "batch");
            before("notify", "batch");
            return;
        }
        let run = |armed: &str| {
            let own = std::env::current_exe().unwrap();
            let name = "failpoints::tests::the_armed_pass_kills_and_no_other";
            let run = Command::new(own).args(["--exact", name]).env(VARIABLE, armed).output().unwrap();
            run.status.signal()
        };
        assert_eq!(run("notify.batch.before@2"), Some(9));
        assert_eq!(run("notify.batch.before@3"), None);
        assert_eq!(run("notify.batch.after@1"), Some(9));
        assert_eq!(run("notify.claim.before"), None);
    }
}
