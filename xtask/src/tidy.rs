//! The rules: size of files and functions, direction of dependencies, inheritance of lints, words, leftovers.
//!
//! A fault is one line, `FILE:LINE: what; cure`. Files are those that git tracks or would track.

mod crates;
mod lengths;
mod lines;

use anyhow::{Context as _, bail};
use std::fmt;
use std::path::Path;
use std::process::Command;

/// One broken rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, from the root.
    file: String,
    /// The line; none where the whole file is meant.
    line: Option<usize>,
    /// What is wrong, and the cure.
    what: String,
}

impl Fault {
    fn at(file: &str, line: usize, what: impl Into<String>) -> Self {
        Self { file: file.into(), line: Some(line), what: what.into() }
    }

    fn of(file: &str, what: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, what: what.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.what),
            None => write!(f, "{}: {}", self.file, self.what),
        }
    }
}

/// Prints every fault; how many there are.
///
/// # Errors
/// Git or cargo cannot be asked, or a file cannot be read.
pub fn run(root: &Path) -> anyhow::Result<usize> {
    let mut faults = crates::check(root)?;
    for file in files(root)? {
        let path = root.join(&file);
        // What is not text has no lines to check; a file may be deleted and still be tracked.
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        faults.extend(lengths::check(&file, &text));
        faults.extend(lines::check(&file, &text));
    }
    faults.iter().for_each(|fault| println!("{fault}"));
    Ok(faults.len())
}

fn files(root: &Path) -> anyhow::Result<Vec<String>> {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"];
    let output = Command::new("git").args(list).current_dir(root).output().context("git")?;
    if !output.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}
