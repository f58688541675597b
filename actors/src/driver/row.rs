//! The rows of drivers and their tags.

use drivers::{DriverConfig, TagConfig};
use proto::{DriverId, EdgeId, Namespace, TagId, TimestampMs};
use serde::{Deserialize, Serialize};
use store::{Row, RowError};

/// Where a driver is kept.
pub(crate) type DriverKey = (Namespace, DriverId);

/// Where a tag is kept.
pub(crate) type TagKey = (Namespace, DriverId, TagId);

/// A configured driver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DriverRow {
    /// The edge node that it runs on.
    pub(crate) edge: EdgeId,
    /// The machine.
    pub(crate) config: DriverConfig,
    /// When it was created.
    pub(crate) created: TimestampMs,
    /// When it was last changed.
    pub(crate) updated: TimestampMs,
    /// Rises with each change, also of its tags, from 1; 0 in rows of before there were any.
    #[serde(default)]
    pub(crate) revision: u64,
}

/// Which state of a driver and its tags it is. One that is deleted and created again has other versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    pub(crate) created: TimestampMs,
    pub(crate) revision: u64,
}

impl DriverRow {
    /// Which state it is in.
    pub(crate) fn version(&self) -> Version {
        Version { created: self.created, revision: self.revision }
    }

    /// The same, changed.
    pub(crate) fn changed(self, now: TimestampMs) -> Self {
        Self { updated: now, revision: self.revision + 1, ..self }
    }
}

/// How often drivers and tags of a namespace have changed here. A node that is restored from a backup, or has a new
/// data folder, shows fewer changes than it had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EditsRow {
    pub(crate) edits: u64,
}

/// A configured tag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct TagRow(pub(crate) TagConfig);

impl Row for DriverRow {
    type Key = DriverKey;
    const TABLE: &'static str = "drivers";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}

impl Row for EditsRow {
    type Key = Namespace;
    const TABLE: &'static str = "driver_edits";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}

impl Row for TagRow {
    type Key = TagKey;
    const TABLE: &'static str = "tags";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}
