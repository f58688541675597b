//! What a connection takes from its queue and writes to its client.

use super::{Connection, OUT_BYTES_MAX, Socket};
use crate::durable::body;
use crate::durable::place::Place;
use crate::figures::Counters;
use crate::session::machine::Machine;
use crate::session::queue::{Delivery, Progress};
use std::collections::VecDeque;
use std::sync::Arc;

/// Deliveries taken from the queue with one lock.
const TAKEN_AT_ONCE: usize = 64;

/// Rows read from the store at once.
const ROWS_PER_READ: usize = 256;

impl<S: Socket> Connection<S> {
    /// Moves deliveries into the send buffer; `true` if it is full and there may be more.
    pub(super) fn fill(&mut self) -> bool {
        while self.out.len() < OUT_BYTES_MAX
            && let Some(step) = {
                let session = &self.session;
                let is_allowed = |delivery: &Delivery| session.may_receive(&delivery.message.topic);
                self.machine.resend(self.now, is_allowed, &mut self.out)
            }
        {
            self.tally.sent += 1;
            self.act_on_exchange(step);
        }
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
        let has_window = self.machine.has_window();
        if !self.replay.is_empty() {
            return pop_if(&mut self.replay, &mut self.machine);
        }
        if self.taken.is_empty() {
            self.take(has_window);
        }
        pop_if(&mut self.taken, &mut self.machine)
    }

    /// Takes what waits in the queue, with one lock for many.
    fn take(&mut self, has_window: bool) {
        if self.take_ready(has_window) {
            return;
        }
        self.read_rows();
        self.take_ready(has_window);
    }

    /// Takes what waits in memory; `false` if the store has to be read first.
    fn take_ready(&mut self, has_window: bool) -> bool {
        let mut queue = self.session.queue();
        while self.taken.len() < TAKEN_AT_ONCE
            && let Some(delivery) = queue.pop(has_window)
        {
            self.taken.push_back(delivery);
        }
        if !self.taken.is_empty() {
            return true;
        }
        // What waits behind a full window needs no wake-up: acknowledgements bring the connection back here.
        if has_window || queue.len() == 0 {
            queue.rest();
        }
        !(has_window && queue.len() == 0 && queue.is_readable())
    }

    /// Reads the next rows of a spilled queue. The read is short and bounded; the pages are in memory nearly always.
    fn read_rows(&mut self) {
        let (after, end) = self.session.queue().readable();
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
        // Rows that are missing have been acknowledged, or their commit has failed.
        let mut read_to = if rows.is_empty() { end - 1 } else { after };
        let rows = rows.into_iter().take_while(|row| row.seq < end);
        let found: Vec<_> = rows
            .map(|row| {
                read_to = row.seq;
                (row.seq, self.restore(row))
            })
            .collect();
        let permissions = self.session.permissions();
        let mut forbidden = 0;
        let mut queue = self.session.queue();
        for (seq, delivery) in found {
            match delivery {
                // Queued when it still might have it.
                Ok(delivery) if !delivery.is_permitted(&permissions) => {
                    queue.dropped += 1;
                    forbidden += 1;
                    if queue.acked(seq) {
                        self.outbox.changes.dequeue(self.session.key(), seq);
                    }
                }
                Ok(delivery) => {
                    let is_released = delivery.progress == Progress::Released;
                    let progress = queue.progress(seq, is_released);
                    queue.refill(Delivery { progress, ..delivery });
                }
                Err(error) => {
                    tracing::error!(client = %self.session.sender().client_id, %error, "a queued message is left out");
                }
            }
        }
        queue.taken(read_to);
        drop(queue);
        Counters::add(&self.space.shared().counters.forbidden, forbidden);
    }

    /// The delivery of a row.
    fn restore(&self, row: store::Queued) -> Result<Delivery, body::Damaged> {
        let place = Place::read(row.flags);
        let message = body::decode(row.body)?;
        let subscription_ids = match place.has_subscription_ids {
            true => self.space.subscription_ids(&self.session, &message.topic),
            false => None,
        };
        Ok(Delivery {
            qos: place.qos,
            retain: place.retain,
            subscription_ids,
            seq: Some(row.seq),
            progress: if place.is_released { Progress::Released } else { Progress::New },
            gate: None,
            hold: None,
            message: Arc::new(message),
        })
    }

    fn send(&mut self, delivery: Delivery) {
        let seq = delivery.seq;
        let sent = if delivery.is_expired(self.now) {
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

fn pop_if(deliveries: &mut VecDeque<Delivery>, machine: &mut Machine) -> Option<Delivery> {
    if !machine.may_send(deliveries.front()?) {
        return None;
    }
    let delivery = deliveries.pop_front();
    if deliveries.is_empty() {
        // A connection that rests keeps no memory.
        *deliveries = VecDeque::new();
    }
    delivery
}
