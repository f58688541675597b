//! What the hub remembers of the configuration of an edge node.

use crate::driver::row::Version;
use crate::edges::row::EdgeKey;
use proto::{DriverId, EdgeId, Namespace, Refusal};
use serde::{Deserialize, Serialize};
use store::{Row, RowError};

/// Where one driver of an edge node is remembered.
pub(crate) type SyncKey = (Namespace, EdgeId, DriverId);

/// The versions of a driver at both ends when they were the same: each end counts its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Base {
    pub(super) hub: Version,
    pub(super) edge: Version,
}

/// How far a driver is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SyncRow {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) base: Option<Base>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<Refused>,
}

/// What one end would not take of the other; it is tried again when either has another version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refused {
    pub(super) by: End,
    pub(super) hub: Option<Version>,
    pub(super) edge: Option<Version>,
    pub(super) refusal: Refusal,
}

/// An end of an uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    Hub,
    Edge,
}

/// How often the drivers of an edge node had changed there at its last round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KnownEditsRow {
    pub(super) edits: u64,
}

impl Row for SyncRow {
    type Key = SyncKey;
    const TABLE: &'static str = "edge_drivers";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}

impl Row for KnownEditsRow {
    type Key = EdgeKey;
    const TABLE: &'static str = "edge_edits";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}
