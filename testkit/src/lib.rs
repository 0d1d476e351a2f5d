//! Real servers for tests and for the rehearsal: MariaDB, a Laravel monolith on PHP-FPM and nginx, an SMTP
//! server that keeps what it gets.
//!
//! Each server listens on a free port of the loopback interface, lives in a folder that the caller gives,
//! runs as whoever runs the test (root included), and ends with its value; where the whole process is
//! killed, the kernel ends it. A test says what it needs by [`require`].

mod browser;
mod deadline;
mod laravel;
mod mariadb;
mod monolith;
mod parts;
mod ports;
mod process;
mod programs;
mod smtp;
mod spawner;

pub use browser::{Browser, Page, curl};
pub use mariadb::MariaDb;
pub use monolith::{Monolith, MonolithConfig};
pub use parts::{Part, missing, require};
pub use ports::free_port;
pub use process::Process;
pub use rustix::process::Signal;
pub use smtp::{Message, Smtp};
