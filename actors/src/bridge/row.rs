//! The rows of bridges.

use super::config::BridgeConfig;
use proto::{BridgeId, Entropy, Namespace, TimestampMs, TopicName};
use serde::{Deserialize, Serialize};
use store::{Row, RowError, SessionKey};

/// Where a bridge is kept.
pub(crate) type BridgeKey = (Namespace, BridgeId);

/// Queues of bridges have this bit in their keys; those of sessions are counted from 1 and never get there.
const QUEUE_OF_A_BRIDGE: u64 = 1 << 63;

/// A configured bridge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BridgeRow {
    /// What the operator said; the secret with it, since the remote broker asks for it.
    pub(crate) config: BridgeConfig,
    /// Whether it keeps away from the remote broker.
    pub(crate) is_paused: bool,
    /// The queue of what waits to go out.
    pub(crate) queue: u64,
    /// When it was created.
    pub(crate) created: TimestampMs,
    /// When it was last changed.
    pub(crate) updated: TimestampMs,
    /// Rises with each change, from 1; 0 in rows of before there were any.
    #[serde(default)]
    pub(crate) revision: u64,
}

impl BridgeRow {
    /// The key of its queue in the store.
    pub(crate) fn queue_key(&self) -> SessionKey {
        SessionKey(self.queue | QUEUE_OF_A_BRIDGE)
    }
}

/// How far a bridge has carried what was retained before its rules.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CarriedRow {
    /// Where to; of what another broker has, this one has nothing.
    pub(crate) url: String,
    /// The ways of which all has been carried.
    pub(crate) done: Vec<CarriedWay>,
    /// The way of which some has been carried, and the last topic that was looked at.
    pub(crate) under_way: Option<(CarriedWay, TopicName)>,
}

/// What makes a rule another one for what is retained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CarriedWay {
    pub(crate) local_prefix: String,
    pub(crate) filter: String,
    pub(crate) remote_prefix: String,
}

/// The name of a namespace on the path of messages over bridges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct OriginRow(pub(crate) String);

impl OriginRow {
    /// A name that no other namespace of any node has.
    pub(crate) fn generate(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; 8];
        entropy.fill(&mut bytes);
        Self(format!("{:016x}", u64::from_be_bytes(bytes)))
    }
}

impl Row for BridgeRow {
    type Key = BridgeKey;
    const TABLE: &'static str = "bridges";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}

impl Row for CarriedRow {
    type Key = BridgeKey;
    const TABLE: &'static str = "bridge_carried";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}

impl Row for OriginRow {
    type Key = Namespace;
    const TABLE: &'static str = "bridge_origins";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}
