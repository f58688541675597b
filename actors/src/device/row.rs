//! The rows of a thing: its registration, the presence of its device, its shadows.

use super::presence::Presence;
use super::shadow::ShadowState;
use proto::{ModelVersion, Namespace, ThingId, TimestampMs};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::BTreeMap;
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
    /// What its operators say about it.
    #[serde(default)]
    pub(crate) attributes: BTreeMap<String, Json>,
    /// When it was registered.
    pub(crate) created: TimestampMs,
    /// When it was last changed.
    pub(crate) updated: TimestampMs,
}

/// What the device actor keeps besides shadows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceRow {
    /// Its connections, and what was last said about them.
    pub(crate) presence: Presence,
    /// How many different values it has ever reported.
    pub(crate) keys: u64,
}

impl ThingRow {
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
