//! What the hub says of an edge node, on `edges/<edge>/uplink/status`.

use super::received::ReceivedRow;
use crate::uplink::report::Report;
use broker::Outgoing;
use proto::platform::EdgeTopic;
use proto::{EdgeId, PlatformTopic, Qos, TimestampMs, TopicName};
use serde::Serialize;

/// How an edge node is, seen from the hub.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct EdgeStatus {
    pub(super) online: bool,
    /// Since when it is, or is not.
    pub(super) t: TimestampMs,
    /// What it last reported.
    #[serde(flatten)]
    pub(super) report: Option<Report>,
    /// Records taken in.
    pub(super) received: u64,
    /// Records that came more than once, and counted once.
    pub(super) again: u64,
    /// Records that it had to drop, or that cannot be read any more.
    pub(super) lost: u64,
    /// Records on topics that no edge node may publish on.
    pub(super) refused: u64,
    /// How long the last live records were on their way, by the clocks of both.
    pub(super) lag_ms: Option<u64>,
}

impl EdgeStatus {
    /// Takes up the counts of a row.
    pub(super) fn count(&mut self, row: &ReceivedRow) {
        let ReceivedRow { records, again, lost, refused, .. } = row;
        (self.received, self.again) = (*records, *again);
        (self.lost, self.refused) = (*lost, *refused);
    }

    /// The message that says it.
    pub(super) fn message(&self, edge: &EdgeId) -> Outgoing {
        let payload = serde_json::to_vec(self).unwrap_or_default();
        Outgoing::new(topic(edge), payload).qos(Qos::AtLeastOnce).retained()
    }
}

/// Where it is said.
pub(crate) fn topic(edge: &EdgeId) -> TopicName {
    PlatformTopic::Edge { edge: edge.clone(), topic: EdgeTopic::UplinkStatus }.topic()
}
