//! The rows of a thing model: what there is of it, its versions with the draft among them, and the things that use one.

use proto::{ModelName, ModelVersion, Namespace, ThingId, TimestampMs};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use store::{Row, RowError};

/// Where a model is kept: by its name.
pub(crate) type ModelKey = (Namespace, String);

/// Where a version of a model is kept. Number 0 is the draft.
pub(crate) type VersionKey = (Namespace, String, u64);

/// Where it is kept that a thing uses a version, written as `pump@3`.
pub(crate) type UseKey = (Namespace, String, ThingId);

/// What there is of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelRow {
    /// Whether it has a draft.
    pub(crate) has_draft: bool,
    /// Its published versions, from the oldest on.
    pub(crate) versions: Vec<u32>,
    /// The number that was given last; deleted versions do not come again.
    pub(crate) last: u32,
    /// When it was created.
    pub(crate) created: TimestampMs,
    /// When it was last changed.
    pub(crate) updated: TimestampMs,
    /// Rises with each change, from 1; 0 in rows of before there were any.
    #[serde(default)]
    pub(crate) revision: u64,
}

impl ModelRow {
    /// It has changed.
    pub(crate) fn change(&mut self, now: TimestampMs) {
        self.updated = now;
        self.revision += 1;
    }
}

/// One version of a model, or its draft.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VersionRow {
    /// The Thing Model.
    pub(crate) document: Json,
    /// When it was written, or published.
    pub(crate) t: TimestampMs,
    /// By whom.
    pub(crate) by: String,
}

/// A thing uses a version of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UseRow {}

/// The key of a model.
pub(crate) fn model_key(namespace: &Namespace, model: &ModelName) -> ModelKey {
    (namespace.clone(), model.as_str().to_owned())
}

/// The key of a published version.
pub(crate) fn version_key(namespace: &Namespace, version: &ModelVersion) -> VersionKey {
    (namespace.clone(), version.model.as_str().to_owned(), version.version.into())
}

/// The key of a draft.
pub(crate) fn draft_key(namespace: &Namespace, model: &ModelName) -> VersionKey {
    (namespace.clone(), model.as_str().to_owned(), 0)
}

impl Row for ModelRow {
    type Key = ModelKey;
    const TABLE: &'static str = "models";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}

impl Row for VersionRow {
    type Key = VersionKey;
    const TABLE: &'static str = "model_versions";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}

impl Row for UseRow {
    type Key = UseKey;
    const TABLE: &'static str = "model_uses";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}
