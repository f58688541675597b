//! The queue against a model of its surroundings: publishers, the store and the owner, in any order.
//!
//! Whatever the interleaving of publishing, committing, reading, acknowledging, losing and resuming the connection,
//! every row whose commit succeeded reaches the client, in order, and what it has acknowledged leaves the store.

use super::*;
use crate::message::{Message, Sender};
use crate::session::inflight::Inflight;
use proptest::prelude::*;
use proto::{ClientId, Identity, TopicName};
use std::collections::BTreeMap;
use std::sync::Arc;

const BOUNDS: Bounds = Bounds {
    ready_max: 4,
    ready_bytes_max: 1 << 20,
    stored_max: 50,
    stored_bytes_max: 40 * WEIGHT as u64,
    when_full: QueueFull::DropNewest,
};
/// Of each message.
const WEIGHT: usize = 97;
const WINDOW: u16 = 3;

fn delivery(sender: &Arc<Sender>, seq: Option<u64>) -> Delivery {
    let message = Message {
        topic: TopicName::parse("t").unwrap(),
        payload: bytes::Bytes::new(),
        qos: Qos::AtLeastOnce,
        retain: false,
        properties: None,
        sender: Arc::clone(sender),
        expires_at: None,
        gate: None,
    };
    Delivery {
        message: Arc::new(message),
        qos: Qos::AtLeastOnce,
        retain: false,
        subscription_ids: None,
        seq,
        progress: Progress::New,
        gate: None,
        hold: None,
    }
}

/// Everything around one durable session.
struct World {
    queue: Queue,
    sender: Arc<Sender>,
    inflight: Inflight,
    /// Rows whose commit is under way.
    committing: Vec<u64>,
    /// Rows in the store.
    store: BTreeMap<u64, ()>,
    /// Rows in the order the client first saw them.
    seen: Vec<u64>,
    /// Rows whose commit has failed.
    failed: Vec<u64>,
    is_connected: bool,
}

impl World {
    fn new() -> Self {
        let sender =
            Sender { client_id: ClientId::parse("c").unwrap(), identity: Identity::Platform };
        let mut queue = Queue::new(Arc::new(BOUNDS), None);
        queue.connect(true);
        Self {
            queue,
            sender: Arc::new(sender),
            inflight: Inflight::new(WINDOW),
            committing: Vec::new(),
            store: BTreeMap::new(),
            seen: Vec::new(),
            failed: Vec::new(),
            is_connected: true,
        }
    }

    fn publish(&mut self) {
        let Some(seq) = self.queue.reserve_row(WEIGHT) else { return };
        self.queue.push(delivery(&self.sender, Some(seq)), false);
        self.committing.push(seq);
    }

    fn settle(&mut self, choice: usize, is_committed: bool) {
        if self.committing.is_empty() {
            return;
        }
        let seq = self.committing.remove(choice % self.committing.len());
        if is_committed {
            self.store.insert(seq, ());
        } else {
            self.failed.push(seq);
        }
        if self.queue.settled(seq, is_committed) {
            self.store.remove(&seq);
        }
    }

    /// What the connection does when it is woken.
    fn drain(&mut self) {
        while self.is_connected {
            while self.inflight.next_again().is_some() {}
            let has_window = self.inflight.has_window();
            if let Some(delivery) = self.queue.pop(has_window) {
                let seq = delivery.seq.unwrap();
                self.inflight.send(delivery);
                self.seen.push(seq);
                continue;
            }
            if !has_window || self.queue.len() > 0 || !self.queue.is_spilled() || !self.refill() {
                self.queue.rest();
                return;
            }
        }
    }

    fn refill(&mut self) -> bool {
        let (after, end) = self.queue.readable();
        if after + 1 >= end {
            return false;
        }
        let rows: Vec<u64> =
            self.store.range(after + 1..end).map(|(seq, ())| *seq).take(2).collect();
        let read_to = rows.last().copied().unwrap_or(end - 1);
        for seq in rows {
            self.queue.refill(delivery(&self.sender, Some(seq)));
        }
        self.queue.taken(read_to);
        true
    }

    fn ack(&mut self, choice: usize) {
        let open = self.inflight.open_ids();
        if !self.is_connected || open.is_empty() {
            return;
        }
        let seq =
            self.inflight.ack(open[choice % open.len()], false).unwrap().unwrap().seq.unwrap();
        if self.queue.acked(seq, WEIGHT) {
            self.store.remove(&seq);
        }
    }

    fn reconnect(&mut self) {
        if self.is_connected {
            self.queue.disconnect(self.inflight.sent_seq());
            self.is_connected = false;
        } else {
            self.queue.connect(true);
            self.inflight.resume(WINDOW);
            self.is_connected = true;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_committed_row_arrives_once_and_in_order(
        steps in proptest::collection::vec((0u8..12, any::<u8>()), 1..400),
    ) {
        let mut world = World::new();
        for (step, choice) in steps {
            match step {
                0..=3 => world.publish(),
                4 | 5 => world.settle(usize::from(choice), true),
                6 if choice < 40 => world.settle(usize::from(choice), false),
                6..=8 => world.drain(),
                9 | 10 => world.ack(usize::from(choice)),
                _ => world.reconnect(),
            }
        }
        // Let everything come to rest.
        while !world.committing.is_empty() {
            world.settle(0, true);
        }
        if !world.is_connected {
            world.reconnect();
        }
        loop {
            world.drain();
            if world.inflight.len() == 0 {
                break;
            }
            world.ack(0);
        }
        prop_assert!(world.seen.is_sorted_by(|a, b| a < b), "{:?}", world.seen);
        let mut owed: Vec<u64> = (1..world.queue.next_seq).collect();
        owed.retain(|seq| !world.failed.contains(seq) || world.seen.contains(seq));
        prop_assert_eq!(&world.seen, &owed);
        prop_assert!(world.store.is_empty(), "{:?}", world.store);
        prop_assert_eq!((world.queue.stored(), world.queue.stored_bytes()), (0, 0));
    }
}

proptest! {
    /// A queue in memory only, which publishers fill and the owner empties.
    #[test]
    fn a_full_queue_keeps_what_its_policy_says_and_counts_the_rest(
        drops_oldest in any::<bool>(), steps in proptest::collection::vec(any::<bool>(), 1..100),
    ) {
        let when_full = if drops_oldest { QueueFull::DropOldest } else { QueueFull::DropNewest };
        let mut queue = Queue::new(Arc::new(Bounds { when_full, ..BOUNDS }), None);
        queue.connect(false);
        let sender = World::new().sender;
        let (mut model, mut dropped) = (VecDeque::new(), 0);
        for (number, is_published) in steps.into_iter().enumerate() {
            if is_published {
                let delivery = delivery(&sender, None);
                model.push_back(Arc::as_ptr(&delivery.message));
                let pushed = queue.push(delivery, false);
                if model.len() > BOUNDS.ready_max {
                    dropped += 1;
                    prop_assert_eq!(pushed.dropped, 1, "at {}", number);
                    if drops_oldest { model.pop_front() } else { model.pop_back() };
                }
            } else {
                let taken = queue.pop(true).map(|it| Arc::as_ptr(&it.message));
                prop_assert_eq!(taken, model.pop_front());
            }
            prop_assert_eq!((queue.len(), queue.drops.total()), (model.len(), dropped));
        }
    }
}
