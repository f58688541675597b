//! The rows of a broadcast: one command to many things. Its commands have its id.
//!
//! Each member's row is written with the commit that ends its command, so progress is exact at any moment.

use super::row::{Ended, Final};
use proto::{CommandId, CommandName, Namespace, Refusal, ThingId, TimestampMs};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use store::{Row, RowError};

/// Where a broadcast is kept.
pub(crate) type BroadcastKey = (Namespace, CommandId);

/// Where a member of one is kept.
pub(crate) type MemberKey = (Namespace, CommandId, ThingId);

/// One command to many things.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BroadcastRow {
    /// What the command is called.
    pub(crate) name: CommandName,
    /// What each device gets.
    pub(crate) input: Json,
    /// Whether the command waits for devices that cannot hear it.
    pub(crate) queue: bool,
    /// Who asked.
    pub(crate) by: String,
    /// When.
    pub(crate) asked: TimestampMs,
    /// When each of its commands ends at the latest.
    pub(crate) deadline: TimestampMs,
    /// How many things it is for.
    pub(crate) members: u64,
    /// Whether it was taken back.
    pub(crate) is_cancelled: bool,
    /// Whether it is known that all its members have ended.
    #[serde(default)]
    pub(crate) is_over: bool,
}

/// What became of one member.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemberRow {
    /// How its command ended; `None` while it has not.
    pub(crate) ended: Option<Ended>,
}

impl BroadcastRow {
    /// The end of a member whose command never came to be.
    pub(crate) fn refused(&self, refusal: &Refusal, now: TimestampMs) -> MemberRow {
        let ended = Ended {
            seq: 0,
            name: self.name.clone(),
            by: self.by.clone(),
            asked: self.asked,
            sent: None,
            ended: now,
            status: Final::Rejected,
            output: None,
            error: Some(super::book::to_json(refusal)),
            is_broadcast: true,
        };
        MemberRow { ended: Some(ended) }
    }
}

impl Row for BroadcastRow {
    type Key = BroadcastKey;
    const TABLE: &'static str = "broadcasts";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}

impl Row for MemberRow {
    type Key = MemberKey;
    const TABLE: &'static str = "broadcast_members";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}
