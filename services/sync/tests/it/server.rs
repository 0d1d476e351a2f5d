//! One MariaDB for all tests that run at the same time; it ends with the last of them.

use banyan_testkit::{MariaDb, Part, require};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tempfile::TempDir;

/// What `banyan check` asks for.
pub const GRANTS: [(&str, &str); 2] = [
    ("REPLICATION SLAVE, BINLOG MONITOR, PROCESS, BINLOG ADMIN", "*.*"),
    ("SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, TRIGGER", "*.*"),
];

/// A running server. Fields end in their order: the folder last.
pub struct Server {
    pub mariadb: Mutex<MariaDb>,
    _folder: TempDir,
}

static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
static NUMBERS: AtomicU32 = AtomicU32::new(1);

/// A number that no other test of this process has.
pub fn number() -> u32 {
    NUMBERS.fetch_add(1, Ordering::Relaxed)
}

impl Server {
    /// The shared server; `None` where MariaDB is missing.
    pub fn shared() -> Option<Arc<Self>> {
        require(Part::MariaDb)?;
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Some(server);
        }
        let server = Arc::new(Self::start());
        *shared = Arc::downgrade(&server);
        Some(server)
    }

    /// A server that the test may kill.
    pub fn own() -> Option<Arc<Self>> {
        require(Part::MariaDb)?;
        Some(Arc::new(Self::start()))
    }

    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mariadb = MariaDb::start(folder.path()).unwrap();
        mariadb.create_user("banyan", "secret", &GRANTS).unwrap();
        Self { mariadb: Mutex::new(mariadb), _folder: folder }
    }

    pub fn with<T>(&self, use_it: impl FnOnce(&mut MariaDb) -> T) -> T {
        use_it(&mut self.mariadb.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
