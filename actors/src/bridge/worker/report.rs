//! What a bridge says about itself while it works.

use super::Worker;
use crate::bridge::status::{BridgePhase, BridgeStatus};
use std::time::Duration;
use tokio::time::Instant;

impl Worker {
    pub(super) fn enter(&mut self, phase: BridgePhase, reason: Option<String>) {
        let is_news = phase != self.phase || reason != self.reason;
        if is_news {
            tracing::info!(state = ?phase, reason, "bridge");
        }
        let (before, after) = (self.phase.is_connected(), phase.is_connected());
        match (before, after) {
            (false, true) => self.context.counters.bridges_connected.increase(),
            (true, false) => self.context.counters.bridges_connected.decrease(),
            _ => {}
        }
        self.phase = phase;
        self.reason = reason;
    }

    fn status(&self) -> BridgeStatus {
        BridgeStatus {
            state: self.phase,
            t: self.context.now(),
            reason: self.reason.clone(),
            origin: self.outward.origin.clone(),
            connects: self.connects,
            losses: self.losses,
            out: self.outward.account(),
            inward: self.inward.account,
        }
    }

    /// Puts the status up, counts what is new, and tells the topic if it is a turn or due.
    pub(super) fn report(&mut self) {
        let status = self.status();
        debug_assert!(status.out.is_balanced() && status.inward.is_balanced(), "{status:?}");
        let now = (status.out, status.inward);
        self.context.counters.count_bridge(&self.counted, &now);
        self.counted = now;
        let at = Instant::now();
        let is_turn = self.told.as_ref().is_none_or(|told| status.is_turn_from(told));
        let is_due = at >= self.status_due;
        if is_due {
            self.status_due = at + Duration::from_millis(self.context.settings.bridge_status_ms);
        }
        let is_new = |told: &BridgeStatus| told.out != status.out || told.inward != status.inward;
        if is_turn || is_due && self.told.as_ref().is_none_or(is_new) {
            self.tap.client.publish(status.message(&self.bridge));
            self.told = Some(status.clone());
        }
        self.context.bridges.show(self.tap.client.namespace(), &self.bridge, status);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.phase.is_connected() {
            self.context.counters.bridges_connected.decrease();
        }
        self.context.counters.bridge_out_queued.subtract(self.counted.0.queued);
    }
}

impl BridgePhase {
    fn is_connected(self) -> bool {
        matches!(self, Self::Connected | Self::Degraded)
    }
}
