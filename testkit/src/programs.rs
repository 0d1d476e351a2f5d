//! Programs of the machine: where they are, and running one to its end.

use anyhow::{Context as _, bail};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where Debian keeps servers; not in the `PATH` of an ordinary user.
const SERVERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// The program's path: from `PATH`, else from the folders of servers.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(SERVERS.map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// The first of these programs that is there.
///
/// # Errors
/// None is.
pub(crate) fn first(names: &[&str]) -> anyhow::Result<PathBuf> {
    let found = names.iter().find_map(|name| find(name));
    found.with_context(|| format!("{} is not installed; `bin/setup test` installs it", names.join(" or ")))
}

/// Runs to the end; what it said on standard output.
///
/// # Errors
/// It does not start or fails; the message holds what it said.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<String> {
    run_with(command, Stdio::null())
}

/// Runs to the end with this standard input.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_with(command: &mut Command, input: Stdio) -> anyhow::Result<String> {
    let name = name(command);
    let output = command.stdin(input).output().with_context(|| name.clone())?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{name}: {}: {said}{}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(said)
}

/// The last part of the program's path.
pub(crate) fn name(command: &Command) -> String {
    let program = Path::new(command.get_program());
    program.file_name().unwrap_or(OsStr::new("a program")).to_string_lossy().into_owned()
}

/// Whether this process runs as root: servers then want to be told that they may, too.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_says_why() {
        let shell = first(&["no-such-program", "sh"]).unwrap();
        let error = run(Command::new(&shell).args(["-c", "echo out; echo err >&2; exit 3"])).unwrap_err();
        let text = format!("{error:#}");
        assert!(["sh:", "3", "out", "err"].iter().all(|part| text.contains(part)), "{text}");
        assert_eq!(run(Command::new(shell).args(["-c", "echo fine"])).unwrap(), "fine\n");
        let text = first(&["no-such-program"]).unwrap_err().to_string();
        assert!(text.contains("bin/setup"), "{text}");
    }
}
