//! Logs of the process, to standard error.

mod json;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

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
/// The variable cannot be read as such a filter.
pub fn init(format: LogFormat) -> Result<(), String> {
    let text = std::env::var("BANYAN_LOG").unwrap_or_else(|_| "info".into());
    let filter: Targets = text.parse().map_err(|e| format!("BANYAN_LOG `{text}`: {e}"))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.event_format(json::JsonLines).boxed(),
    };
    // Only a subscriber that is already installed makes this fail.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
    Ok(())
}
