//! Secrets in files with mode 0600, made at first start.

use rand::Rng as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

/// The secret that roles show each other in the header `banyan-role-token`.
#[derive(Clone)]
pub struct RoleToken(Arc<str>);

impl RoleToken {
    /// A token of the given text.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// Reads the token from a file, or makes one of 32 random bytes.
    ///
    /// # Errors
    /// As [`load_or_create`].
    pub fn load_or_create(path: &Path) -> io::Result<Self> {
        let bytes = load_or_create(path, 32)?;
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        Ok(Self(hex.into()))
    }

    /// The header's value.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares in time that does not depend on where the texts differ.
    pub fn matches(&self, presented: &[u8]) -> bool {
        let own = self.0.as_bytes();
        own.len() == presented.len() && own.iter().zip(presented).fold(0, |acc, (a, b)| acc | (a ^ b)) == 0
    }
}

impl std::fmt::Debug for RoleToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RoleToken(…)")
    }
}

/// Reads a secret from a file, or makes one of `length` random bytes, mode 0600, appearing whole or not
/// at all: two processes that start at once agree.
///
/// # Errors
/// The file cannot be read or written, or others may read it.
pub fn load_or_create(path: &Path, length: usize) -> io::Result<Vec<u8>> {
    match read_private(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut secret = vec![0; length];
            rand::rng().fill_bytes(&mut secret);
            create_private(path, &secret)?;
            read_private(path)
        }
        outcome => outcome,
    }
}

/// Writes a secret to a file that does not exist yet, mode 0600. An existing file is left as it is.
///
/// # Errors
/// The folder cannot be made or the file cannot be written.
pub fn create_private(path: &Path, secret: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let draft = folder.join(format!(".{}.{:016x}", std::process::id(), rand::rng().next_u64()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(secret)?;
    file.sync_all()?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome,
    }
}

fn read_private(path: &Path) -> io::Result<Vec<u8>> {
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        let path = path.display();
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{path} can be read by others; run `chmod 600 {path}`"),
        ));
    }
    fs::read(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_kept_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets/role.key");
        let first = load_or_create(&path, 32).unwrap();
        assert_eq!((first.len(), load_or_create(&path, 32).unwrap()), (32, first));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = load_or_create(&path, 32).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_token_matches_only_itself() {
        let token = RoleToken::new("abc");
        assert!(token.matches(b"abc"));
        assert!(!token.matches(b"abd") && !token.matches(b"ab") && !token.matches(b""));
        assert_eq!(format!("{token:?}"), "RoleToken(…)");
    }
}
