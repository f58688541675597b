//! The rows of a thing: its registration, the presence of its device, its shadows.

use super::presence::{Presence, Status};
use super::shadow::ShadowState;
use proto::id::Label;
use proto::{EdgeId, ModelVersion, Namespace, ThingId, TimestampMs};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use store::{Row, RowError};

/// Where a thing's rows are kept.
pub(crate) type ThingKey = (Namespace, ThingId);

/// Where a shadow is kept: the empty name is the classic one, which no named shadow can have.
pub(crate) type ShadowKey = (Namespace, ThingId, String);

/// A registered thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ThingRow {
    /// Where it stands in the Unified Namespace; absent: `<tenant>/<thing>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) location: Option<String>,
    /// The model that it keeps to; absent: anything goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<ModelVersion>,
    /// The gateway that it is behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<ThingId>,
    /// The edge node that it is at; absent: it comes to this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) edge: Option<EdgeId>,
    /// The hub has given it to this edge node, and hears what becomes of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_hubs: bool,
    /// The number that its maker gave it; no two things of a namespace have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) serial: Option<String>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) tags: BTreeSet<Label>,
    /// Nobody comes in as it for now, and what a gateway says for it is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_disabled: bool,
    /// What its operators say about it.
    #[serde(default)]
    pub(crate) attributes: BTreeMap<String, Json>,
    /// When it was registered.
    pub(crate) created: TimestampMs,
    /// When it was last changed.
    pub(crate) updated: TimestampMs,
    /// Rises with each change, from 1.
    #[serde(default = "first_revision")]
    pub(crate) revision: u64,
}

fn first_revision() -> u64 {
    1
}

/// What the device actor keeps besides shadows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceRow {
    /// Its connections, and what was last said about them.
    pub(crate) presence: Presence,
    /// How many different values it has ever reported.
    pub(crate) keys: u64,
    /// When it was last heard of through a gateway, to within some seconds; or when it first said anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) heard: Option<TimestampMs>,
    /// What the edge node that it is at last said of its connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) there: Option<Status>,
}

impl ThingRow {
    /// One that was registered at `now`.
    pub(crate) fn new(now: TimestampMs) -> Self {
        Self {
            model: None,
            location: None,
            parent: None,
            edge: None,
            is_hubs: false,
            serial: None,
            tags: BTreeSet::new(),
            is_disabled: false,
            attributes: BTreeMap::new(),
            created: now,
            updated: now,
            revision: first_revision(),
        }
    }

    /// Its place in the Unified Namespace.
    pub(crate) fn location(&self, namespace: &Namespace, thing: &ThingId) -> String {
        match &self.location {
            Some(location) => location.clone(),
            None => default_location(namespace, thing),
        }
    }
}

/// The place of a thing that was given none.
pub(crate) fn default_location(namespace: &Namespace, thing: &ThingId) -> String {
    [namespace.tenant.as_str(), thing.as_str()].join("/")
}

impl Row for ThingRow {
    type Key = ThingKey;
    const TABLE: &'static str = "things";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}

impl Row for DeviceRow {
    type Key = ThingKey;
    const TABLE: &'static str = "devices";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}

impl Row for ShadowState {
    type Key = ShadowKey;
    const TABLE: &'static str = "shadows";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}
