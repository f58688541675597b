//! What can be wrong with a configuration, and how it is told: key path, value, what is allowed.

use std::fmt;
use std::path::PathBuf;

/// Why no configuration could be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file is not there or not readable.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{} line {line} is not TOML: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What the parser expected.
        reason: String,
    },
    /// A `--set` that is not `key=value`.
    #[error("--set {0}: it must read section.key=value")]
    Setting(String),
    /// A key that does not exist, or a value of the wrong type.
    #[error("configuration: {key}: {reason} ({source_name})")]
    Key {
        /// The path of the key.
        key: String,
        /// What is wrong.
        reason: String,
        /// Where it was given.
        source_name: String,
    },
    /// Values outside their limits.
    #[error("configuration: {0}")]
    Limits(Problems),
}

/// Values outside their limits, each with the path of its key.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Problems(Vec<String>);

impl Problems {
    /// Adds a problem of the value at `key`.
    pub(crate) fn add(&mut self, key: &str, reason: impl fmt::Display) {
        self.0.push(format!("{key}: {reason}"));
    }

    /// Adds a problem if `value` is not within `allowed`.
    pub(crate) fn within(&mut self, key: &str, value: u64, allowed: std::ops::RangeInclusive<u64>) {
        if !allowed.contains(&value) {
            self.add(
                key,
                format_args!("{value} is not within {}..={}", allowed.start(), allowed.end()),
            );
        }
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}
