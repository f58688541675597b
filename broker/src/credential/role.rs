//! Custom roles: a base role, narrowed by an access list that has a name.
//!
//! A user that is given custom roles may do what any one of them allows. Who has which role is kept as rows of its own,
//! so that a role finds its users without going through all names of a namespace.

use crate::permissions::acl::AclRule;
use proto::{Namespace, Role, RoleId, TimestampMs, UserId};
use serde::{Deserialize, Serialize};
use store::{Row, RowError};

/// The most custom roles of one user: each is up to 64 rules that every session of it holds.
pub const CUSTOM_ROLES_MAX: usize = 8;

/// A custom role of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomRole {
    /// The role that its users have, and that it narrows; it never changes.
    pub base: Role,
    /// What its users may do within that role.
    pub acl: Vec<AclRule>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// When it was created.
    pub created: TimestampMs,
    /// When it was changed last.
    pub updated: TimestampMs,
    /// Rises with each change, from 1; 0 in rows of before there were any.
    #[serde(default)]
    pub revision: u64,
}

/// That a user has a custom role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleHolder;

impl Row for CustomRole {
    type Key = (Namespace, RoleId);
    const TABLE: &'static str = "roles";
    const VERSION: u8 = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }

    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json(version, bytes)
    }
}

impl Row for RoleHolder {
    type Key = (Namespace, RoleId, UserId);
    const TABLE: &'static str = "role_holders";
    const VERSION: u8 = 1;

    fn encode(&self, _out: &mut Vec<u8>) {}

    fn decode(_version: u8, _bytes: &[u8]) -> Result<Self, RowError> {
        Ok(Self)
    }
}
