//! What a connection takes from its queue and writes to its client.

use super::desk::Work;
use super::{Connection, OUT_BYTES_MAX, Socket};
use crate::durable::refill;
use crate::figures::Counters;
use crate::session::machine::Machine;
use crate::session::queue::Delivery;
use proto::Qos;
use std::collections::VecDeque;

/// Deliveries taken from the queue with one lock.
const TAKEN_AT_ONCE: usize = 64;

impl<S: Socket> Connection<S> {
    /// Moves deliveries into the send buffer; `true` if it is full and there may be more.
    pub(super) fn fill(&mut self) -> bool {
        while self.desk.get().out.len() < OUT_BYTES_MAX
            && let Some(step) = {
                let session = &self.session;
                let is_allowed = |delivery: &Delivery| session.may_receive(&delivery.message.topic);
                self.machine.resend(self.now, is_allowed, &mut self.desk.get().out)
            }
        {
            self.desk.get().tally.sent += 1;
            self.act_on_exchange(step);
        }
        loop {
            if self.desk.get().out.len() >= OUT_BYTES_MAX {
                return true;
            }
            let Some(delivery) = self.next() else { return false };
            self.send(delivery);
        }
    }

    /// The next delivery that may be sent now: what is left of a page of retained ones, else what waits in memory or
    /// in the store and the next page in turn.
    fn next(&mut self) -> Option<Delivery> {
        let Work { replay, taken, .. } = self.desk.get();
        let is_between_pages = taken.is_empty() && replay.page_len() == 0;
        if is_between_pages && !replay.has_to_yield() {
            replay.read(&self.space, &self.session);
        }
        if replay.page_len() > 0 {
            return pop_if(replay.page(), &mut self.machine);
        }
        if taken.is_empty() {
            self.take(self.machine.has_window());
        }
        let Work { replay, taken, .. } = self.desk.get();
        if taken.is_empty() && !replay.is_done() {
            replay.read(&self.space, &self.session);
            if replay.page_len() > 0 {
                return pop_if(replay.page(), &mut self.machine);
            }
            // Nothing so far: others have their turn before the search goes on.
            self.session.wake();
        }
        pop_if(taken, &mut self.machine)
    }

    /// Takes what waits in the queue, with one lock for many.
    fn take(&mut self, has_window: bool) {
        if self.take_ready(has_window) {
            return;
        }
        let ids = |topic: &_| self.space.subscription_ids(&self.session, topic);
        let changes = &mut self.desk.get().outbox.changes;
        refill::read_rows(self.space.shared(), &self.session, changes, ids);
        self.take_ready(has_window);
    }

    /// Takes what waits in memory; `false` if the store has to be read first.
    fn take_ready(&mut self, has_window: bool) -> bool {
        let work = self.desk.get();
        let mut queue = self.session.queue();
        while work.taken.len() < TAKEN_AT_ONCE
            && let Some(delivery) = queue.pop(has_window)
        {
            work.taken.push_back(delivery);
        }
        // Under the lock: a group must not see the queue empty before it sees this full.
        self.session.hold(self.machine.inflight() + work.held());
        if !work.taken.is_empty() {
            return true;
        }
        // What waits behind a full window needs no wake-up: acknowledgements bring the connection back here.
        if has_window || queue.len() == 0 {
            queue.rest();
        }
        !(has_window && queue.len() == 0 && queue.is_readable())
    }

    /// Deliveries taken out of the queue and not acknowledged.
    pub(super) fn held(&self) -> usize {
        self.machine.inflight() + self.desk.held()
    }

    fn send(&mut self, mut delivery: Delivery) {
        let seq = delivery.seq;
        // Of QoS 0, to be sent is all that can be promised.
        let hold = if delivery.qos == Qos::AtMostOnce { delivery.hold.take() } else { None };
        let is_expired = delivery.is_expired(self.now);
        let sent = if is_expired {
            Err(delivery)
        } else {
            self.machine.deliver(delivery, self.now, &mut self.desk.get().out)
        };
        match sent {
            Ok(()) => {
                self.desk.get().tally.sent += 1;
                if let Some(hold) = hold {
                    hold.done();
                }
            }
            Err(delivery) => {
                // Expired, or longer than the client takes (MQTT 5.0 3.1.2-25): as if delivered.
                let weight = delivery.message.weight();
                if let Some(hold) = hold.or(delivery.hold) {
                    hold.done();
                }
                let mut queue = self.session.queue();
                if is_expired {
                    queue.expired += 1;
                    Counters::add(&self.space.shared().counters.expired, 1);
                } else {
                    queue.drops.too_large += 1;
                }
                if let Some(seq) = seq
                    && queue.acked(seq, weight)
                {
                    drop(queue);
                    self.desk.get().outbox.changes.dequeue(self.session.key(), seq);
                }
            }
        }
    }
}

fn pop_if(deliveries: &mut VecDeque<Delivery>, machine: &mut Machine) -> Option<Delivery> {
    if machine.may_send(deliveries.front()?) { deliveries.pop_front() } else { None }
}
