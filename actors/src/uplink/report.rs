//! What an uplink says of itself: to its hub, and in its own namespace.

use proto::TimestampMs;
use serde::{Deserialize, Serialize};

/// What the edge node tells its hub, on `edges/<edge>/uplink/report`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The release that it runs.
    pub(crate) version: String,
    /// When it was started.
    pub(crate) started: TimestampMs,
    /// How often drivers and tags have changed there.
    #[serde(default)]
    pub(crate) edits: u64,
    /// What waits to go up.
    #[serde(flatten)]
    pub(crate) queue: QueueReport,
}

/// What waits to go up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueueReport {
    /// Records.
    pub(crate) queued: u64,
    /// Their bytes; on the disk they take a little more.
    pub(crate) queued_bytes: u64,
    /// When the oldest of them was published.
    pub(crate) oldest: Option<TimestampMs>,
    /// Whether records that waited are on their way behind those of now.
    pub(crate) backfilling: bool,
    /// Records that the hub will never get, since the start.
    pub(crate) dropped: u64,
}

/// How an uplink is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UplinkPhase {
    /// Not connected; the reason says why.
    Connecting,
    /// Connected.
    Connected,
    /// Connected, and the hub refuses something.
    Degraded,
    /// The node stops.
    Stopped,
}

/// What is retained on `edges/<edge>/uplink/status` of the edge node's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct UplinkStatus {
    pub(crate) state: UplinkPhase,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// When the state began.
    pub(crate) t: TimestampMs,
    pub(crate) connects: u64,
    pub(crate) losses: u64,
    /// Records acknowledged by the hub, since the start.
    pub(crate) sent: u64,
    #[serde(flatten)]
    pub(crate) queue: QueueReport,
}

impl UplinkStatus {
    /// That of an uplink that has yet to connect.
    pub(super) fn beginning(t: TimestampMs) -> Self {
        let (state, queue) = (UplinkPhase::Connecting, QueueReport::default());
        Self { state, reason: None, t, connects: 0, losses: 0, sent: 0, queue }
    }
}
