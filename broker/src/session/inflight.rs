//! What has been sent with QoS 1 and not been acknowledged (MQTT 5.0 4.3.2 and 4.9).
//!
//! Plain state: hands out packet identifiers, keeps to the client's receive maximum, and gives everything back for
//! sending again, in order and with the same identifiers, when the client returns (4.4).

use crate::session::queue::Delivery;
use std::collections::VecDeque;
use std::num::NonZeroU16;

/// The most entries since the oldest open one; far fewer than there are identifiers.
const PLACES_MAX: usize = 16_384;

/// Deliveries in flight, in the order they were sent.
#[derive(Debug)]
pub(crate) struct Inflight {
    sent: VecDeque<(NonZeroU16, Option<Delivery>)>,
    /// Entries of `sent` that are not acknowledged.
    open: usize,
    window: usize,
    next_id: u16,
    /// The highest row sent.
    sent_seq: u64,
}

impl Inflight {
    /// An empty one; `window` is the most deliveries in flight.
    pub(crate) fn new(window: u16) -> Self {
        let window = usize::from(window.max(1));
        Self { sent: VecDeque::new(), open: 0, window, next_id: 1, sent_seq: 0 }
    }

    /// Goes on with another connection, whose client takes `window` at once.
    pub(crate) fn resume(&mut self, window: u16) {
        self.window = usize::from(window.max(1));
    }

    /// Whether one more may be sent.
    pub(crate) fn has_window(&self) -> bool {
        // Acknowledged entries behind an open one keep their place, hence the second bound.
        self.open < self.window && self.sent.len() < PLACES_MAX
    }

    /// How many are not acknowledged.
    pub(crate) fn len(&self) -> usize {
        self.open
    }

    /// The highest row that has been sent.
    pub(crate) fn sent_seq(&self) -> u64 {
        self.sent_seq
    }

    /// The packet identifier of the next delivery; no other in flight has it. Identifiers go round in order and
    /// `sent` holds all since the oldest one open, fewer than there are identifiers.
    pub(crate) fn next_id(&self) -> NonZeroU16 {
        NonZeroU16::new(self.next_id).unwrap_or(NonZeroU16::MIN)
    }

    /// Passes over a delivery that cannot be sent.
    pub(crate) fn skip(&mut self, delivery: &Delivery) {
        self.sent_seq = self.sent_seq.max(delivery.seq.unwrap_or(0));
    }

    /// Sends a delivery under [`Inflight::next_id`], which is returned.
    pub(crate) fn send(&mut self, delivery: Delivery) -> NonZeroU16 {
        let id = self.next_id();
        self.next_id = id.get().wrapping_add(1);
        self.sent_seq = self.sent_seq.max(delivery.seq.unwrap_or(0));
        self.sent.push_back((id, Some(delivery)));
        self.open += 1;
        id
    }

    /// The client has acknowledged; `None` if nothing of that identifier is in flight.
    pub(crate) fn ack(&mut self, packet_id: NonZeroU16) -> Option<Delivery> {
        // Clients acknowledge in order, so the search ends at once nearly always.
        let (_, place) = self.sent.iter_mut().find(|(id, it)| *id == packet_id && it.is_some())?;
        let delivery = place.take();
        self.open -= 1;
        while matches!(self.sent.front(), Some((_, None))) {
            self.sent.pop_front();
        }
        delivery
    }

    /// What has to be sent again, in order.
    pub(crate) fn unacknowledged(&self) -> impl Iterator<Item = (NonZeroU16, &Delivery)> {
        self.sent.iter().filter_map(|(id, delivery)| Some((*id, delivery.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Message, Sender};
    use proptest::prelude::*;
    use proto::{ClientId, Identity, Qos, TopicName};
    use std::collections::HashMap;
    use std::sync::Arc;

    fn delivery(seq: u64) -> Delivery {
        let sender =
            Sender { client_id: ClientId::parse("c").unwrap(), identity: Identity::Platform };
        let message = Message {
            topic: TopicName::parse("t").unwrap(),
            payload: bytes::Bytes::new(),
            qos: Qos::AtLeastOnce,
            retain: false,
            properties: None,
            sender: Arc::new(sender),
            expires_at: None,
            gate: None,
        };
        Delivery {
            message: Arc::new(message),
            qos: Qos::AtLeastOnce,
            retain: false,
            subscription_ids: None,
            seq: Some(seq),
            hold: None,
        }
    }

    #[test]
    fn what_is_not_acknowledged_is_given_back_in_order_with_its_identifier() {
        let mut inflight = Inflight::new(10);
        let ids: Vec<NonZeroU16> = (1..=4).map(|seq| inflight.send(delivery(seq))).collect();
        assert_eq!(inflight.ack(ids[1]).unwrap().seq, Some(2));
        assert!(inflight.ack(ids[1]).is_none());
        inflight.resume(2);
        assert!(!inflight.has_window());
        let again: Vec<_> = inflight.unacknowledged().map(|(id, it)| (id, it.seq)).collect();
        assert_eq!(again, [(ids[0], Some(1)), (ids[2], Some(3)), (ids[3], Some(4))]);
        assert_eq!(inflight.sent_seq(), 4);
    }

    proptest! {
        #[test]
        fn no_identifier_is_in_flight_twice(
            window in 1u16..20, steps in proptest::collection::vec(any::<u8>(), 1..2000), start in any::<u16>(),
        ) {
            let mut inflight = Inflight::new(window);
            inflight.next_id = start;
            let mut open: HashMap<NonZeroU16, u64> = HashMap::new();
            for (step, choice) in steps.into_iter().enumerate() {
                if choice < 140 && inflight.has_window() {
                    let id = inflight.send(delivery(step as u64));
                    prop_assert_eq!(open.insert(id, step as u64), None);
                } else if let Some(id) = open.keys().nth(usize::from(choice) % open.len().max(1)).copied() {
                    let acked = inflight.ack(id).unwrap();
                    prop_assert_eq!(acked.seq, open.remove(&id));
                }
                prop_assert_eq!(inflight.len(), open.len());
                prop_assert!(inflight.len() <= usize::from(window));
            }
        }
    }
}
