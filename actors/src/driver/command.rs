//! What a driver tells its machine, one thing at a time.

use drivers::{Call, Gap, PointId, PointWrite};
use proto::{Refusal, TimestampMs};
use serde_json::Value as Json;

/// The two clocks: one that only rises, and that of the wall.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Milliseconds since some start.
    pub(crate) ms: u64,
    /// Wall-clock time.
    pub(crate) t: TimestampMs,
}

/// What the machine is asked next.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    /// Make the connection.
    Connect,
    /// Have points pushed.
    Subscribe(Vec<PointId>),
    /// Read points.
    Read(Vec<PointId>),
    /// Write points, each at most once.
    Write(Vec<PointWrite>),
    /// Ask something for whoever holds this ticket.
    Ask(u64, Query),
    /// Ask what the machine has kept while it was away.
    Recall(Vec<Gap>),
}

/// What somebody wants to know of the machine, or have done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Query {
    /// What these points hold now.
    Read(Vec<PointId>),
    /// What it has below an address.
    Browse {
        /// The address; absent: its root.
        below: Option<String>,
        /// At most so much.
        limit: usize,
    },
    /// Who it is.
    Identify,
    /// What a method returns.
    Call(Call),
}

/// The end of a write or question: its ticket and what became of it.
pub(crate) type Answer = (u64, Result<Json, Refusal>);
