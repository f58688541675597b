//! What an uplink says of itself.

use super::{Worker, own};
use crate::uplink::lanes::Lanes;
use crate::uplink::report::{QueueReport, UplinkPhase};
use broker::Outgoing;
use proto::Qos;
use proto::platform::EdgeTopic;

impl Worker {
    pub(super) fn enter(&mut self, state: UplinkPhase, reason: Option<String>) {
        if self.status.state != state {
            self.status.t = self.context.now();
            tracing::info!(?state, reason, "uplink");
        }
        self.status.state = state;
        self.status.reason = reason;
        self.report();
    }

    /// Says how the uplink is, if that is news.
    pub(super) fn report(&mut self) {
        let shelf = self.tape.shelf();
        let (_, queued, queued_bytes) = shelf.size();
        let dropped = shelf.lost();
        let oldest = shelf.oldest();
        drop(shelf);
        let backfilling = self.lanes.as_ref().is_some_and(Lanes::is_filling);
        self.status.queue = QueueReport { queued, queued_bytes, oldest, backfilling, dropped };
        self.count();
        if self.told.as_ref() != Some(&self.status) {
            let topic = own(&self.edge, EdgeTopic::UplinkStatus);
            let payload = serde_json::to_vec(&self.status).unwrap_or_default();
            self.client.publish(Outgoing::new(topic, payload).qos(Qos::AtLeastOnce).retained());
            self.told = Some(self.status.clone());
        }
    }

    pub(super) fn count(&self) {
        let counters = &self.context.counters;
        counters.uplink_connected.set(u64::from(self.connected_at.is_some()));
        counters.uplink_losses.set(self.status.losses);
        counters.uplink_sent.set(self.status.sent);
        counters.uplink_dropped.set(self.status.queue.dropped);
        counters.uplink_queued.set(self.status.queue.queued);
        counters.uplink_queued_bytes.set(self.status.queue.queued_bytes);
    }
}
