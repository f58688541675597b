//! What rules have done since the start, for those who look.

use super::row::RuleKey;
use parking_lot::Mutex;
use proto::{Refusal, TimestampMs};
use serde::Serialize;
use std::collections::HashMap;

/// What a rule has done.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Figures {
    /// Whether the condition holds; null until a good value has come.
    pub(super) holds: Option<bool>,
    /// How often it has acted.
    pub(super) acted: u64,
    /// How often it had to wait for `min_interval_ms`.
    pub(super) deferred: u64,
    /// Actions that were refused.
    pub(super) failed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_acted: Option<TimestampMs>,
    /// Why an action was refused last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_failure: Option<Refusal>,
}

/// The figures of all rules of the node.
#[derive(Default)]
pub(crate) struct Deeds(Mutex<HashMap<RuleKey, Figures>>);

impl Deeds {
    /// What a rule has done.
    pub(crate) fn read(&self, key: &RuleKey) -> Figures {
        self.0.lock().get(key).cloned().unwrap_or_default()
    }

    pub(super) fn note(&self, key: &RuleKey, note: impl FnOnce(&mut Figures)) {
        note(self.0.lock().entry(key.clone()).or_default());
    }

    pub(super) fn forget(&self, key: &RuleKey) {
        self.0.lock().remove(key);
    }
}
