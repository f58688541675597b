//! What a record tells of, before it has a place in a chain.

use proto::{Identity, Namespace, Role, TimestampMs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The outcome of what was done.
pub(crate) const OK: &str = "ok";

/// The outcome of what the broker is about to do by an operator's word; a second record says how it ended.
pub(crate) const BEGUN: &str = "begun";

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct By {
    /// What it has proved to be: `user`, `thing`, `edge` or `platform`; absent if it has proved nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) identity: Option<String>,
    /// The name, of who has proved nothing as it was claimed.
    pub(crate) name: String,
    /// The role in its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<Role>,
}

/// Something to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) t: TimestampMs,
    pub(crate) namespace: Namespace,
    pub(crate) by: By,
    pub(crate) client_id: Option<String>,
    pub(crate) address: Option<String>,
    /// `login`, or resource and verb.
    pub(crate) action: String,
    /// The fields of the request that say what it is about.
    pub(crate) target: BTreeMap<String, String>,
    /// `ok`, `begun`, or the code of the refusal.
    pub(crate) outcome: String,
    pub(crate) request_id: Option<String>,
    /// SHA-256 of the request without its secrets.
    pub(crate) digest: Option<String>,
    /// How many it stands for.
    pub(crate) count: u64,
}

impl By {
    /// Who has proved to be this.
    pub(crate) fn known(identity: &Identity) -> Self {
        let kind = match identity {
            Identity::Thing(_) => "thing",
            Identity::Edge(_) => "edge",
            Identity::User { .. } => "user",
            Identity::Platform => "platform",
        };
        let name = match identity {
            Identity::Platform => "$platform",
            other => other.name(),
        };
        Self { identity: Some(kind.to_owned()), name: name.to_owned(), role: Some(identity.role()) }
    }

    /// Who claims to be this.
    pub(crate) fn claimed(name: &str) -> Self {
        Self { identity: None, name: name.to_owned(), role: None }
    }
}

impl Entry {
    /// An entry of which only the most needful is known.
    pub(crate) fn new(
        t: TimestampMs,
        namespace: Namespace,
        by: By,
        action: impl Into<String>,
    ) -> Self {
        Self {
            t,
            namespace,
            by,
            client_id: None,
            address: None,
            action: action.into(),
            target: BTreeMap::new(),
            outcome: OK.to_owned(),
            request_id: None,
            digest: None,
            count: 1,
        }
    }

    /// The same with another outcome.
    pub(crate) fn with_outcome(&self, outcome: &str) -> Self {
        Self { outcome: outcome.to_owned(), ..self.clone() }
    }

    /// About how many bytes its record takes.
    pub(crate) fn bytes(&self) -> usize {
        let target: usize =
            self.target.iter().map(|(key, value)| key.len() + value.len() + 6).sum();
        let texts = [&self.client_id, &self.address, &self.request_id, &self.digest];
        let texts: usize = texts.iter().filter_map(|text| text.as_ref()).map(String::len).sum();
        400 + target + texts + self.by.name.len() + self.action.len()
    }
}
