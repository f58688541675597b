//! The rows of enrolments and of the serial numbers that they know.

use proto::id::{EnrolmentId, Label};
use proto::{ModelRef, Namespace, ThingId, TimestampMs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use store::{Row, RowError};

/// Where an enrolment is kept. The credential of its name has its secret.
pub(crate) type EnrolmentKey = (Namespace, EnrolmentId);

/// Where a serial number is kept.
pub(crate) type SerialKey = (Namespace, EnrolmentId, String);

/// A way in for devices that are not registered yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnrolmentRow {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    /// What comes by it.
    #[serde(default, skip_serializing_if = "Registers::is_things")]
    pub(crate) registers: Registers,
    /// The model of its things, as it was asked for: without a version, the latest when a device comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<ModelRef>,
    /// The template of their names.
    pub(crate) name: String,
    /// The template of their locations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) location: Option<String>,
    /// The gateway that they are behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<ThingId>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) tags: BTreeSet<Label>,
    /// Only serial numbers that an operator has added are let in.
    #[serde(default)]
    pub(crate) listed_only: bool,
    /// How many things it registers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) things_max: Option<u64>,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<TimestampMs>,
    /// How many things it has registered.
    pub(crate) registered: u64,
    /// How many serial numbers it knows.
    pub(crate) serials: u64,
    /// What the secrets of its things are made of. Never shown.
    pub(crate) key: [u8; 32],
    pub(crate) created: TimestampMs,
    pub(crate) updated: TimestampMs,
    /// Rises with each change by an operator, from 1.
    pub(crate) revision: u64,
}

/// What an enrolment registers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Registers {
    /// Devices.
    #[default]
    Things,
    /// Edge nodes.
    Edges,
}

impl Registers {
    fn is_things(&self) -> bool {
        *self == Self::Things
    }
}

/// A serial number that an enrolment knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SerialRow {
    /// An operator has added it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_listed: bool,
    /// Absent: no device has come with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) used: Option<Used>,
}

/// The device that has come with a serial number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Used {
    /// What it became; an edge node has the same kind of name.
    pub(crate) thing: ThingId,
    /// SHA-256 of its nonce.
    pub(crate) nonce: String,
    /// When it came.
    pub(crate) t: TimestampMs,
    /// An operator has given it up: the next device takes the thing over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_reset: bool,
}

impl Row for EnrolmentRow {
    type Key = EnrolmentKey;
    const TABLE: &'static str = "enrolments";
    const VERSION: u8 = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }

    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json(version, bytes)
    }
}

impl Row for SerialRow {
    type Key = SerialKey;
    const TABLE: &'static str = "enrolment_serials";
    const VERSION: u8 = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }

    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json(version, bytes)
    }
}
