//! `[log]`: what is logged to stderr, and in which form.

use super::Problems;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// The actor library names each actor by a number, around the names that our own spans give it.
const QUIET: &str = "ractor=warn,opcua_client::config=error";

/// The section `log`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogConfig {
    /// A level, or directives such as `info,broker=debug`.
    pub(crate) level: String,
    /// For people or for machines.
    pub(crate) format: LogFormat,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// One line of text.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

impl LogConfig {
    pub(super) fn check(&self, problems: &mut Problems) {
        if self.level.trim().is_empty() {
            problems.add("log.level", "a level is needed, such as info; off logs nothing");
        } else if let Err(error) = self.filter() {
            problems.add("log.level", format_args!("`{}` is not understood: {error}", self.level));
        }
    }

    /// The filter that `level` stands for; what it says of a part wins over [`QUIET`].
    pub(crate) fn filter(&self) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
        EnvFilter::builder().parse(format!("{QUIET},{}", self.level))
    }
}
