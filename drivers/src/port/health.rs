//! What a driver tells about itself: the state of its connection, and counters since it was opened.
//!
//! Counters only rise; a restarted driver starts at zero. There is no time in a driver: who polls
//! knows when the last good read was, and adds it with [`Health::with_last_good`].

use proto::TimestampMs;
use serde::Serialize;

/// Whether a driver has a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Connectivity {
    /// There is none: never made, or lost.
    #[default]
    Disconnected,
    /// There was one at the last request.
    Connected,
}

/// What happened since the driver was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Connections made.
    pub connects: u64,
    /// Connections that could not be made.
    pub connects_failed: u64,
    /// Requests answered, refusals included.
    pub round_trips: u64,
    /// Requests answered with a refusal.
    pub device_errors: u64,
    /// Connections dropped because an answer did not come in time.
    pub timeouts: u64,
    /// Connections that the machine or the network closed.
    pub connections_lost: u64,
    /// Connections dropped because an answer broke the protocol.
    pub protocol_violations: u64,
    /// Requests for several points that were refused and asked again in smaller parts.
    pub requests_split: u64,
    /// Points known to be refused that were not asked again in a read, to bound its cost.
    pub probes_skipped: u64,
    /// Points read.
    pub points_read: u64,
    /// Points that failed to be read.
    pub points_failed: u64,
    /// Values that were pushed, and let go since newer ones of the same point had come before anybody took them.
    pub values_skipped: u64,
    /// Events that came.
    pub events: u64,
    /// Events that came, and were let go since too many waited.
    pub events_skipped: u64,
    /// Values that the machine had kept while it was away.
    pub points_recalled: u64,
    /// Methods called, refusals included.
    pub calls: u64,
    /// Values written.
    pub writes: u64,
    /// Writes that failed, those refused before anything was sent included.
    pub writes_failed: u64,
}

/// The health of a driver.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Whether there is a connection.
    pub connectivity: Connectivity,
    /// What happened since the driver was opened.
    pub counters: Counters,
    /// The last reason for a failed or lost connection; absent while connected.
    pub last_error: Option<String>,
    /// When a point was last read well; known to the caller only.
    pub last_good: Option<TimestampMs>,
}

impl Health {
    /// The same health with the time of the last good read, which only the caller knows.
    pub fn with_last_good(self, last_good: Option<TimestampMs>) -> Self {
        Self { last_good, ..self }
    }
}
