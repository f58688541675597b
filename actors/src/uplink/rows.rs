//! What an uplink keeps: how far it is, the blocks that wait, and what was dropped.

use proto::uplink::{GapReason, Range, Ranges};
use proto::{Namespace, TimestampMs};
use serde::{Deserialize, Serialize};
use store::{Row, RowError, SessionKey};

/// The queues of uplinks have this bit in their keys, and not the one of bridges; those of sessions never get there.
const QUEUE_OF_AN_UPLINK: u64 = 1 << 62;

/// How far an uplink is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UplinkRow {
    /// Its queue.
    pub(super) queue: u64,
    /// Tells the numbers of records from those of every other life of the data folder.
    pub(super) epoch: u64,
    /// The store of that life: one that was restored from a backup would give numbers again that the hub has.
    pub(super) store: u64,
    /// What the hub has, or is never to get.
    pub(super) acked: Ranges,
}

/// A block that waits; its body is in the queue of the uplink, at the place that is the second part of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BlockRow {
    pub(super) range: Range,
    /// Of its body.
    pub(super) bytes: u64,
    /// When its first record was published.
    pub(super) at: TimestampMs,
}

/// Records that were dropped, of which the hub has yet to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GapRow {
    pub(super) range: Range,
    #[serde(with = "reason")]
    pub(super) reason: GapReason,
    pub(super) oldest: TimestampMs,
    pub(super) newest: TimestampMs,
}

impl UplinkRow {
    /// The key of its queue in the store.
    pub(super) fn queue_key(&self) -> SessionKey {
        SessionKey((self.queue & !(1 << 63)) | QUEUE_OF_AN_UPLINK)
    }
}

/// Reasons by their names.
mod reason {
    use super::GapReason;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    const ALL: [GapReason; 3] = [GapReason::Bytes, GapReason::Age, GapReason::Store];

    pub(super) fn serialize<S: Serializer>(it: &GapReason, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(it.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<GapReason, D::Error> {
        let name = String::deserialize(from)?;
        let found = ALL.into_iter().find(|it| it.name() == name);
        found.ok_or_else(|| D::Error::custom(format!("`{name}` is no reason of a gap")))
    }
}

impl Row for UplinkRow {
    type Key = Namespace;
    const TABLE: &'static str = "uplinks";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}

impl Row for BlockRow {
    type Key = (Namespace, u64);
    const TABLE: &'static str = "uplink_blocks";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}

impl Row for GapRow {
    type Key = (Namespace, u64);
    const TABLE: &'static str = "uplink_gaps";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}
