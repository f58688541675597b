//! The envelope of the admin API: what answers a request on `admin/<resource>/<verb>`.
//!
//! A request is any JSON object that the operation takes; besides its own fields it may carry `request_id`,
//! which makes a repeated mutation harmless. An answer is `{"ok":true,"data":…}` or `{"ok":false,"error":{…}}`.

use crate::refusal::Refusal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The rows of a list answer, if the request gives no `limit`.
pub const LIST_LIMIT_DEFAULT: usize = 100;

/// The most rows of a list answer.
pub const LIST_LIMIT_MAX: usize = 1000;

/// An answer of the admin API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reply {
    /// The request was carried out, durably.
    Done {
        /// Always true.
        ok: bool,
        /// What the operation returns.
        data: serde_json::Value,
    },
    /// The request was refused and changed nothing.
    Refused {
        /// Always false.
        ok: bool,
        /// Why.
        error: Refusal,
    },
}

impl Reply {
    /// The wire form of an outcome.
    pub fn from_outcome(outcome: Result<serde_json::Value, Refusal>) -> Self {
        match outcome {
            Ok(data) => Self::Done { ok: true, data },
            Err(error) => Self::Refused { ok: false, error },
        }
    }

    /// The outcome it stands for.
    pub fn into_outcome(self) -> Result<serde_json::Value, Refusal> {
        match self {
            Self::Done { data, .. } => Ok(data),
            Self::Refused { error, .. } => Err(error),
        }
    }

    /// The payload of the answer.
    pub fn to_json(&self) -> Vec<u8> {
        // Made of texts, numbers and JSON values only: serialisation has no way to fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The rows, in the order of their names.
    pub items: Vec<T>,
    /// Passed as `cursor` it gives the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// What every list request takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListRequest {
    /// Only rows whose name contains this text.
    #[serde(default)]
    pub filter: Option<String>,
    /// At most so many rows, 1 to [`LIST_LIMIT_MAX`]; [`LIST_LIMIT_DEFAULT`] if absent.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Where the page before ended.
    #[serde(default)]
    pub cursor: Option<String>,
}

impl ListRequest {
    /// The limit within its bounds.
    pub fn limit(&self) -> usize {
        self.limit.unwrap_or(LIST_LIMIT_DEFAULT).clamp(1, LIST_LIMIT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_answers_read_as_the_contract_says_and_round_trip() {
        let done = Reply::from_outcome(Ok(serde_json::json!({"thing": "pump7"})));
        let refused = Reply::from_outcome(Err(Refusal::not_found("thing", "x")));
        assert_eq!(done.to_json(), br#"{"ok":true,"data":{"thing":"pump7"}}"#);
        for reply in [done, refused] {
            let back: Reply = serde_json::from_slice(&reply.to_json()).unwrap();
            assert_eq!(back, reply);
        }
    }
}
