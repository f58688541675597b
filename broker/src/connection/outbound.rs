//! What a connection takes from its queue and writes to its client.

use super::{Connection, OUT_BYTES_MAX, Socket};
use crate::durable::body;
use crate::session::queue::Delivery;
use proto::Qos;
use std::sync::Arc;

/// Rows read from the store at once.
const ROWS_PER_READ: usize = 256;

impl<S: Socket> Connection<S> {
    /// Moves deliveries into the send buffer; `true` if it is full and there may be more.
    pub(super) fn fill(&mut self) -> bool {
        loop {
            if self.out.len() >= OUT_BYTES_MAX {
                return true;
            }
            if self.out.capacity() == 0 && self.session.queue().len() > 1 {
                self.out.reserve(OUT_BYTES_MAX / 4);
            }
            let Some(delivery) = self.next() else { return false };
            self.send(delivery);
        }
    }

    /// The next delivery that may be sent now: retained ones first, then what waits, then what the store holds.
    fn next(&mut self) -> Option<Delivery> {
        if let Some(front) = self.replay.front() {
            if front.qos != Qos::AtMostOnce && !self.machine.has_window() {
                return None;
            }
            let delivery = self.replay.pop_front();
            if self.replay.is_empty() {
                self.replay.shrink_to_fit();
            }
            return delivery;
        }
        let has_window = self.machine.has_window();
        let mut queue = self.session.queue();
        if let Some(delivery) = queue.pop(has_window) {
            return Some(delivery);
        }
        if !has_window && queue.len() > 0 {
            // Acknowledgements bring the connection back here; no wake-up is needed before.
            return None;
        }
        if !has_window || queue.len() > 0 || !queue.is_spilled() {
            queue.rest();
            return None;
        }
        drop(queue);
        self.read_rows();
        let mut queue = self.session.queue();
        let delivery = queue.pop(has_window);
        if delivery.is_none() {
            queue.rest();
        }
        delivery
    }

    /// Reads the next rows of a spilled queue. The read is short and bounded; the pages are in memory nearly always.
    fn read_rows(&mut self) {
        let (after, end) = self.session.queue().readable();
        if after + 1 >= end {
            return;
        }
        let shared = self.space.shared();
        let bytes_max = shared.limits.queue_bytes_max / 4;
        let rows = shared
            .store
            .read()
            .and_then(|it| it.queue(self.session.key(), after, ROWS_PER_READ, bytes_max));
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => {
                tracing::error!(client = %self.session.sender().client_id, %error, "cannot read a queue");
                return;
            }
        };
        let mut queue = self.session.queue();
        // Rows that are missing have been acknowledged, or their commit has failed.
        let mut read_to = if rows.is_empty() { end - 1 } else { after };
        for row in rows.into_iter().take_while(|row| row.seq < end) {
            read_to = row.seq;
            match body::decode(row.body) {
                Ok(message) => queue.refill(Delivery {
                    qos: Qos::try_from(row.flags & 0b11).unwrap_or_default(),
                    retain: false,
                    dup: false,
                    subscription_ids: None,
                    seq: Some(row.seq),
                    gate: None,
                    message: Arc::new(message),
                }),
                Err(error) => {
                    tracing::error!(client = %self.session.sender().client_id, %error, "a queued message is left out");
                }
            }
        }
        queue.taken(read_to);
    }

    fn send(&mut self, delivery: Delivery) {
        let seq = delivery.seq;
        let is_expired = delivery.message.is_expired(self.now);
        let sent = if is_expired {
            Err(delivery)
        } else {
            self.machine.deliver(delivery, self.now, &mut self.out)
        };
        match sent {
            Ok(()) => self.tally.sent += 1,
            Err(_) => {
                // Expired, or longer than the client takes (MQTT 5.0 3.1.2-25): as if delivered.
                let mut queue = self.session.queue();
                queue.dropped += 1;
                if let Some(seq) = seq
                    && queue.acked(seq)
                {
                    drop(queue);
                    self.outbox.changes.dequeue(self.session.key(), seq);
                }
            }
        }
    }
}
