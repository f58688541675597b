//! The registered edge nodes of a namespace.

use proto::{EdgeId, Namespace, TimestampMs};
use serde::{Deserialize, Serialize};
use store::{Row, RowError};

/// Where an edge node is kept.
pub(crate) type EdgeKey = (Namespace, EdgeId);

/// A registered edge node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EdgeRow {
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    pub(crate) created: TimestampMs,
    pub(crate) updated: TimestampMs,
    /// Rises with each change, from 1.
    pub(crate) revision: u64,
    /// When it first reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) adopted: Option<TimestampMs>,
}

impl Row for EdgeRow {
    type Key = EdgeKey;
    const TABLE: &'static str = "edges";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}
