//! Tells the service manager that the process is ready, and which one is the main process (sd_notify(3)).

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The variable that names the manager's socket; systemd sets it for `Type=notify`.
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// Says that this process is ready and the main one; does nothing where no manager asks for it.
pub fn ready() {
    let Ok(name) = std::env::var(VARIABLE) else { return };
    if let Err(error) = tell(&name, &format!("READY=1\nMAINPID={}\n", std::process::id())) {
        tracing::warn!(%error, name, "the service manager cannot be told that this process is ready");
    }
}

fn tell(name: &str, text: &str) -> io::Result<()> {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_is_told_by_a_path_or_by_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manager").display().to_string();
        let name = format!("@banyan-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(name.trim_start_matches('@')).unwrap();
        let managers = [
            (UnixDatagram::bind(&path).unwrap(), &path),
            (UnixDatagram::bind_addr(&abstract_name).unwrap(), &name),
        ];
        for (manager, name) in managers {
            tell(name, "READY=1\n").unwrap();
            let mut space = [0; 64];
            let count = manager.recv(&mut space).unwrap();
            assert_eq!(&space[..count], b"READY=1\n");
        }
        assert!(tell("/nowhere/at/all", "READY=1\n").is_err());
    }
}
