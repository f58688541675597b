//! Takes what is retained, a page at a time, into the queue of a bridge.

use super::{BREATHER, COMMITS_MAX, Worker};
use crate::bridge::carry::Carrier;
use crate::bridge::config::BridgeConfig;
use crate::bridge::outward::Batch;
use crate::bridge::row::{BridgeKey, CarriedRow};
use crate::bridge::tap;
use broker::Delivery;
use proto::Qos;
use store::{ReadError, Store};
use tokio::time::Instant;

/// Retained messages of one page.
const PAGE_MAX: u64 = 64;

/// Pages without anything to carry, for one commit: a filter may fit few of many.
const LOOKS_MAX: usize = 16;

/// No more is taken while so much waits to go out: what is retained stays where it is until there is room, and
/// takes none from what is published.
const QUEUED_MAX: u64 = 1000;

/// What a bridge has yet to carry.
pub(super) fn open(
    store: &Store,
    key: &BridgeKey,
    config: &BridgeConfig,
) -> Result<Carrier, ReadError> {
    Ok(Carrier::new(config, store.read()?.get::<CarriedRow>(key)?))
}

impl Worker {
    /// Whether a page may be taken now. Only with a connection, or messages of QoS 0 would be for nobody.
    pub(super) fn may_carry(&self) -> bool {
        self.carrier.is_due()
            && self.outward.is_connected
            && self.rests_until.is_none()
            && self.commits.len() < COMMITS_MAX
            && self.rows_to_carry() > 0
    }

    fn rows_to_carry(&self) -> u64 {
        let queued_max = self.row.config.queue.messages_max.min(QUEUED_MAX);
        queued_max.saturating_sub(self.outward.queue.len()).min(PAGE_MAX)
    }

    /// Takes a page. What is published from now on comes after it, since it comes to this task.
    pub(super) fn carry(&mut self) {
        let rows = usize::try_from(self.rows_to_carry()).unwrap_or(usize::MAX);
        let mut batch = Batch::default();
        for mut delivery in self.look(rows) {
            // What is retained is worth an acknowledgement, however it was published.
            delivery.qos = Qos::AtLeastOnce;
            self.outward.take(&self.mapping, delivery, &mut batch);
        }
        let row = self.carrier.taken();
        batch.changes.put::<CarriedRow>(&self.tap.key(&self.bridge), &row);
        batch.carried = Some(row);
        self.commit(batch);
    }

    /// The next page in which there is something to carry, if it is not far.
    fn look(&mut self, rows: usize) -> Vec<Delivery> {
        for _ in 0..LOOKS_MAX {
            let Some((rule, walk)) = self.carrier.walk() else { break };
            let mut found = self.tap.client.retained_page(walk, rows);
            let is_over = walk.is_over();
            found.retain(|delivery| self.is_to_carry(rule, delivery));
            if is_over || !found.is_empty() {
                return found;
            }
        }
        Vec::new()
    }

    /// Whether a topic goes out by this rule, and did not come from the remote broker.
    fn is_to_carry(&self, rule: usize, delivery: &Delivery) -> bool {
        let is_from_there = tap::is_of(&self.bridge, &delivery.sender.client_id);
        !is_from_there && self.mapping.rule_out(&delivery.topic) == Some(rule)
    }

    /// The commit of a page has ended.
    pub(super) fn carried(&mut self, row: CarriedRow, is_committed: bool) {
        self.carrier.settle(row, is_committed);
        if !is_committed {
            self.rests_until = Some(Instant::now() + BREATHER);
        }
    }
}
