//! The rows of commands: those that are open, and how the last ones ended.

use proto::{CommandId, CommandName, Namespace, ThingId, TimestampMs, TopicName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use store::{Row, RowError};

/// Where a command is kept.
pub(crate) type CommandKey = (Namespace, ThingId, CommandId);

/// A command that has yet to end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Open {
    /// Its place among the commands of the thing.
    pub(crate) seq: u64,
    /// What it is called.
    pub(crate) name: CommandName,
    /// What the device gets.
    pub(crate) input: Json,
    /// Who asked.
    pub(crate) by: String,
    /// When.
    pub(crate) asked: TimestampMs,
    /// When it ends at the latest.
    pub(crate) deadline: TimestampMs,
    /// When it was handed to the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sent: Option<TimestampMs>,
    /// Where its end is told besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reply: Option<ReplyTo>,
    /// Whether the steps before the end are told there.
    #[serde(default)]
    pub(crate) progress: bool,
    /// Whether it is one of a broadcast, which has its id.
    #[serde(default)]
    pub(crate) is_broadcast: bool,
}

/// Where an invoker wants its answer (MQTT 5.0 4.10).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplyTo {
    /// The response topic.
    pub(crate) topic: TopicName,
    /// The correlation data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) correlation: Option<Vec<u8>>,
}

/// How a command can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Final {
    /// The device has done it.
    Succeeded,
    /// The device says that it could not.
    Failed,
    /// The device got it and did not answer in time.
    TimedOut,
    /// It was not taken, or taken back.
    Rejected,
    /// The device could not be reached in time.
    Expired,
}

/// How a command has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ended {
    /// Its place among those that have ended.
    pub(crate) seq: u64,
    /// What it is called.
    pub(crate) name: CommandName,
    /// Who asked.
    pub(crate) by: String,
    /// When.
    pub(crate) asked: TimestampMs,
    /// When it was handed to the device, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sent: Option<TimestampMs>,
    /// When it ended.
    pub(crate) ended: TimestampMs,
    /// How.
    pub(crate) status: Final,
    /// What the device answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<Json>,
    /// Why it did not succeed: what the device says, or a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Json>,
    /// Whether it was one of a broadcast.
    #[serde(default)]
    pub(crate) is_broadcast: bool,
}

impl Row for Open {
    type Key = CommandKey;
    const TABLE: &'static str = "commands";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}

impl Row for Ended {
    type Key = CommandKey;
    const TABLE: &'static str = "command_results";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}
