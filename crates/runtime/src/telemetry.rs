//! Logs of the process, to standard error.

mod json;

use std::io::IsTerminal as _;
use std::sync::OnceLock;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Registry, reload};

use crate::lines::{self, Lines};

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, with the ids of its trace and span.
    Json,
}

/// The variable that overrides the filter of the configuration.
pub const FILTER_VARIABLE: &str = "BANYAN_LOG";

/// What changes the filter of the process's log.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Checks a filter by target and level, such as `warn,banyan_sync=debug`.
///
/// # Errors
/// It cannot be read; names it.
pub fn check_filter(filter: &str) -> Result<(), String> {
    read(filter).map(|_| ())
}

/// Starts logging what passes the filter. A second call does nothing.
///
/// # Errors
/// The filter cannot be read, or there is no thread for the lines that wait.
pub fn init(format: LogFormat, filter: &str) -> Result<(), String> {
    let (filter, handle) = reload::Layer::new(read(filter)?);
    let writer = Lines::start().map_err(|e| format!("the thread of the access log: {e}"))?;
    let colours = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.event_format(json::JsonLines).boxed(),
    };
    // Only a subscriber that is already installed makes this fail.
    if tracing_subscriber::registry().with(lines.with_filter(filter)).try_init().is_ok() {
        let _ = FILTER.set(handle);
    }
    Ok(())
}

/// Writes the lines of the access log that wait to be written together; the last thing that a process does.
pub fn flush() {
    lines::flush();
}

/// Changes the filter of the running log; nothing happens where [`init`] has not been called.
///
/// # Errors
/// The filter cannot be read; the old one stays.
pub fn set_filter(filter: &str) -> Result<(), String> {
    let filter = read(filter)?;
    FILTER.get().map_or(Ok(()), |handle| handle.reload(filter).map_err(|e| e.to_string()))
}

fn read(filter: &str) -> Result<Targets, String> {
    filter.parse().map_err(|e| format!("the log filter `{filter}`: {e}"))
}
