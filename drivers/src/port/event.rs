//! What a machine tells of, rather than what it holds.

use super::PointId;
use proto::TimestampMs;
use serde::Serialize;
use serde_json::{Map, Value as Json};

/// How much an event matters, in the words of the events of things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventLevel {
    /// Good to know.
    Notify,
    /// To be looked at.
    Warning,
    /// To be acted on.
    Error,
}

/// Something that has happened in a machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The point that tells of it.
    pub point: PointId,
    /// When it happened, as the machine says; `None` where it does not say, and the time of its arrival counts.
    pub at: Option<TimestampMs>,
    /// How much it matters.
    pub level: EventLevel,
    /// What the machine says of it.
    pub data: Map<String, Json>,
}
