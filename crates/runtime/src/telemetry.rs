//! Logs of the process, to standard error.

mod json;

use std::io::IsTerminal as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

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

/// Starts logging; `BANYAN_LOG` filters by target and level, such as `warn,banyan_sync=debug` (`info` by
/// default). A second call does nothing.
///
/// # Errors
/// The variable cannot be read as such a filter, or there is no thread for the lines that wait.
pub fn init(format: LogFormat) -> Result<(), String> {
    let text = std::env::var("BANYAN_LOG").unwrap_or_else(|_| "info".into());
    let filter: Targets = text.parse().map_err(|e| format!("BANYAN_LOG `{text}`: {e}"))?;
    let writer = Lines::start().map_err(|e| format!("the thread of the access log: {e}"))?;
    let colours = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.event_format(json::JsonLines).boxed(),
    };
    // Only a subscriber that is already installed makes this fail.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
    Ok(())
}

/// Writes the lines of the access log that wait to be written together; the last thing that a process does.
pub fn flush() {
    lines::flush();
}
