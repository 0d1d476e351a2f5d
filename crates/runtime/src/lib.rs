//! What every role stands on: clocks, tasks, secrets, HTTP conventions, configuration, and what is seen of it
//! all: logs, metrics and traces.
//!
//! Invariants: the ambient clock and `tokio::spawn` are used here and nowhere else in production code;
//! a task has a name and a policy; a role-to-role answer is JSON or `application/problem+json`.

pub mod client;
pub mod clock;
pub mod config;
pub mod failpoints;
pub mod http;
mod lines;
pub mod manager;
pub mod observe;
pub mod otlp;
pub mod quantiles;
pub mod secrets;
pub mod takeover;
pub mod tasks;
pub mod telemetry;
pub mod trace;
