//! Where rules are kept, and what they have acted on.

use super::rule::Rule;
use proto::{Namespace, RuleId, TimestampMs};
use serde::{Deserialize, Serialize};
use store::{Row, RowError};

/// Where a rule is kept.
pub(crate) type RuleKey = (Namespace, RuleId);

/// A rule of a namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RuleRow {
    #[serde(flatten)]
    pub(crate) rule: Rule,
    pub(crate) created: TimestampMs,
    pub(crate) updated: TimestampMs,
    /// Rises with each change, from 1.
    pub(crate) revision: u64,
}

/// Whether the rule has acted on its condition, which then still holds as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActedRow {
    pub(crate) acted: bool,
}

impl Row for RuleRow {
    type Key = RuleKey;
    const TABLE: &'static str = "rules";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}

impl Row for ActedRow {
    type Key = RuleKey;
    const TABLE: &'static str = "rules_acted";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}
