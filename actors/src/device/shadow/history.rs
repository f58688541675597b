//! Who changed a shadow, when, and what: the last so many changes of each, and its last deletion.
//!
//! A change lies in the slot that its version has among so many, over the one that was there: one row for each update,
//! and nothing to delete.

use crate::device::row::ShadowKey;
use broker::Sender;
use proto::shadow::Sections;
use proto::{ClientId, TimestampMs};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use store::{Changes, Row, RowError};

/// One change of a shadow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShadowChange {
    /// The version that it led to; the last one if the shadow was deleted.
    pub(crate) version: u64,
    /// When.
    pub(crate) t: TimestampMs,
    /// The identity of who changed it.
    pub(crate) by: String,
    /// The client that it came from.
    pub(crate) client_id: ClientId,
    /// What was set in `desired`, as it was asked for; null if the section was cleared.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "present")]
    pub(crate) desired: Option<Json>,
    /// What was set in `reported`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "present")]
    pub(crate) reported: Option<Json>,
    /// Whether the shadow was deleted.
    #[serde(default)]
    pub(crate) deleted: bool,
}

impl ShadowChange {
    /// A change by somebody to the sections of an update as they were asked for, or a deletion.
    pub(crate) fn by(sender: &Sender, t: TimestampMs, asked: Option<Sections>) -> Self {
        let deleted = asked.is_none();
        let Sections { desired, reported, .. } = asked.unwrap_or_default();
        let by = sender.identity.to_string();
        let client_id = sender.client_id.clone();
        Self { version: 0, t, by, client_id, desired, reported, deleted }
    }

    /// Keeps it as the change that led to a version; at most `max` are kept besides a deletion.
    pub(crate) fn keep(
        mut self,
        (key, version): (&ShadowKey, u64),
        max: u64,
        changes: &mut Changes,
    ) {
        self.version = version;
        let slot = match (self.deleted, version.checked_rem(max)) {
            (_, None) => return,
            (true, _) => "deleted".to_owned(),
            (false, Some(slot)) => slot.to_string(),
        };
        changes.put::<Self>(&slot_key(key, &slot), &self);
    }
}

/// The key before those of all changes of a shadow.
pub(crate) fn before_all(key: &ShadowKey) -> ShadowKey {
    slot_key(key, "")
}

/// Whether a change with this key is one of the shadow.
pub(crate) fn is_of(key: &ShadowKey, slot: &ShadowKey) -> bool {
    // No name holds a `/`.
    slot.2.rsplit_once('/').is_some_and(|(name, _)| name == key.2)
}

fn slot_key((namespace, thing, name): &ShadowKey, slot: &str) -> ShadowKey {
    (namespace.clone(), thing.clone(), [name, slot].join("/"))
}

/// Tells a section that was cleared, which is null, from one that was left alone.
mod present {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::Value as Json;

    pub(super) fn serialize<S: Serializer>(
        section: &Option<Json>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        section.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Json>, D::Error> {
        Json::deserialize(deserializer).map(Some)
    }
}

impl Row for ShadowChange {
    type Key = ShadowKey;
    const TABLE: &'static str = "shadow_changes";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}
