//! What the store keeps of the audit: records, the head of each chain, what has been dropped, and the node's key.

use super::chain::{Hash, Head, hex, unhex};
use super::checkpoint::Checkpoint;
use proto::TenantId;
use serde::{Deserialize, Serialize};
use store::{Row, RowError};

/// A record as it was hashed. Payload: the hash, then the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuditRow {
    pub(crate) hash: Hash,
    pub(crate) bytes: Vec<u8>,
}

/// The last record of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeadRow {
    number: u64,
    hash: String,
    t: u64,
}

/// The key that checkpoints are signed with: an Ed25519 seed, made at the first start.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRow {
    pub(crate) seed: String,
}

/// The key of the one row of its table.
pub(crate) const NODE: &str = "node";

impl HeadRow {
    /// The head in it; `None` if its hash is none.
    pub(crate) fn head(&self) -> Option<Head> {
        Some(Head { number: self.number, hash: unhex(&self.hash)?, t: self.t })
    }
}

impl From<Head> for HeadRow {
    fn from(head: Head) -> Self {
        Self { number: head.number, hash: hex(&head.hash), t: head.t }
    }
}

impl Row for AuditRow {
    type Key = (TenantId, u64);
    const TABLE: &'static str = "audit";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.hash);
        out.extend_from_slice(&self.bytes);
    }
    fn decode(_: u8, bytes: &[u8]) -> Result<Self, RowError> {
        let (hash, bytes) = bytes
            .split_first_chunk::<32>()
            .ok_or_else(|| RowError::malformed("an audit record without its hash"))?;
        Ok(Self { hash: *hash, bytes: bytes.to_vec() })
    }
}

impl Row for HeadRow {
    type Key = TenantId;
    const TABLE: &'static str = "audit_heads";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        let row = store::decode_json::<Self>(version, bytes)?;
        match row.head() {
            Some(_) => Ok(row),
            None => Err(RowError::malformed("a head whose hash is none")),
        }
    }
}

impl Row for Checkpoint {
    type Key = TenantId;
    const TABLE: &'static str = "audit_checkpoints";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}

impl Row for KeyRow {
    type Key = String;
    const TABLE: &'static str = "audit_key";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}
