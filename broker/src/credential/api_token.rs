//! API tokens: further ways in for a user, each with an end and a scope of its own, and revocable.
//!
//! The token itself is a JWT that only names the row; what its bearer may do stands here and in the credential of
//! the user, and is looked up at each CONNECT.

use crate::permissions::acl::AclRule;
use proto::{Entropy, Namespace, RoleId, TimestampMs, TokenId, UserId};
use serde::{Deserialize, Serialize};
use store::{Row, RowError};

/// The most tokens of one user.
pub const API_TOKENS_MAX: usize = 64;

/// Where an API token is kept: the namespace and name of its user, and its own name.
pub type ApiTokenKey = (Namespace, UserId, TokenId);

/// An API token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiToken {
    /// The `jti` of its JWT (RFC 7519 4.1.7), so that one made anew under its name is another.
    pub serial: String,
    /// Those of the custom roles of its user that it has; absent: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<RoleId>>,
    /// What it may do of what its user may; absent: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<Vec<AclRule>>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// When it was created.
    pub created: TimestampMs,
    /// When it ends.
    pub expires: TimestampMs,
    /// Nobody comes in with it for now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_disabled: bool,
}

impl ApiToken {
    /// A serial number that no other token has: 128 random bits.
    pub fn new_serial(entropy: &dyn Entropy) -> String {
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Row for ApiToken {
    type Key = ApiTokenKey;
    const TABLE: &'static str = "api_tokens";
    const VERSION: u8 = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }

    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json(version, bytes)
    }
}
