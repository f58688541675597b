//! The rows of tenants and projects.

use super::quota::Quota;
use proto::{Namespace, TenantId, TimestampMs};
use serde::{Deserialize, Serialize};
use store::{Row, RowError};

/// A tenant: an organisation, whose projects are apart from those of others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantRow {
    /// When it was created.
    pub(crate) created: TimestampMs,
    /// What it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
    /// Nobody but operators of the whole system enters its projects for now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_disabled: bool,
    /// What its projects have in all.
    #[serde(default, skip_serializing_if = "Quota::is_unbounded")]
    pub(crate) quota: Quota,
    /// Rises with each change, from 1; 0 in rows of before there were any.
    #[serde(default)]
    pub(crate) revision: u64,
}

/// A project: one namespace that is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProjectRow {
    /// When it was created.
    pub(crate) created: TimestampMs,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
    /// Nobody but operators of the whole system enters it for now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_disabled: bool,
    /// What it has of the pool of its tenant.
    #[serde(default, skip_serializing_if = "Quota::is_unbounded")]
    pub(crate) quota: Quota,
    /// Rises with each change, from 1; 0 in rows of before there were any.
    #[serde(default)]
    pub(crate) revision: u64,
}

impl TenantRow {
    /// A tenant without description and bounds.
    pub(crate) fn new(created: TimestampMs) -> Self {
        Self {
            created,
            description: String::new(),
            is_disabled: false,
            quota: Quota::default(),
            revision: 1,
        }
    }
}

impl ProjectRow {
    /// A project without description and bounds.
    pub(crate) fn new(created: TimestampMs) -> Self {
        Self {
            created,
            description: String::new(),
            is_disabled: false,
            quota: Quota::default(),
            revision: 1,
        }
    }
}

impl Row for TenantRow {
    type Key = TenantId;
    const TABLE: &'static str = "tenants";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
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
