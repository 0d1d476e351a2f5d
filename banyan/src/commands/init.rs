//! `banyan init`: writes the commented configuration file.

use anyhow::{Context as _, bail};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

/// The commented file.
pub const TEMPLATE: &str = include_str!("banyan.toml");

/// Writes or prints the template.
pub fn run(path: &Path, force: bool) -> anyhow::Result<ExitCode> {
    if path == Path::new("-") {
        print!("{TEMPLATE}");
        return Ok(ExitCode::SUCCESS);
    }
    if path.exists() && !force {
        bail!("{} exists; `--force` replaces it, `banyan init -` prints the template", path.display());
    }
    let mut options = OpenOptions::new();
    // It will hold a database password and Laravel's key.
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path).with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(TEMPLATE.as_bytes())?;
    println!("wrote {}; fill in [monolith], then run `banyan check`", path.display());
    Ok(ExitCode::SUCCESS)
}
