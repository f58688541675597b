//! The row of a project.

use proto::{Namespace, TimestampMs};
use serde::{Deserialize, Serialize};
use store::{Row, RowError};

/// A project: one namespace that is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProjectRow {
    /// When it was created.
    pub(crate) created: TimestampMs,
}

impl Row for ProjectRow {
    type Key = Namespace;
    const TABLE: &'static str = "projects";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}
