//! What is in flight: identifiers, windows, and what is sent again.

use super::*;
use crate::message::{Message, Sender};
use proptest::prelude::*;
use proto::{ClientId, Identity, Qos, TopicName};
use std::collections::HashMap;

fn delivery(qos: Qos, seq: Option<u64>) -> Delivery {
    let sender = Sender { client_id: ClientId::parse("c").unwrap(), identity: Identity::Platform };
    let message = Message {
        topic: TopicName::parse("t").unwrap(),
        payload: bytes::Bytes::new(),
        qos,
        retain: false,
        properties: None,
        sender: Arc::new(sender),
        expires_at: None,
        gate: None,
    };
    Delivery {
        message: Arc::new(message),
        qos,
        retain: false,
        subscription_ids: None,
        seq,
        progress: Progress::New,
        gate: None,
        hold: None,
    }
}

fn once(seq: u64) -> Delivery {
    delivery(Qos::AtLeastOnce, Some(seq))
}

fn exactly(seq: u64) -> Delivery {
    delivery(Qos::ExactlyOnce, Some(seq))
}

fn over(seq: u64) -> Result<Option<Over>, ()> {
    Ok(Some(Over { seq: Some(seq), weight: once(seq).message.weight() }))
}

/// What is sent again, until the window is full.
fn again(inflight: &mut Inflight) -> Vec<(NonZeroU16, bool)> {
    let mut list = Vec::new();
    while let Some(again) = inflight.next_again() {
        list.push(match again {
            Again::Publish(packet_id, _) => (packet_id, true),
            Again::Release { packet_id, .. } => (packet_id, false),
        });
    }
    list
}

#[test]
fn what_is_not_acknowledged_is_given_back_in_order_and_no_more_than_the_window_takes() {
    let mut inflight = Inflight::new(10);
    let ids: Vec<NonZeroU16> = (1..=4).map(|seq| inflight.send(once(seq))).collect();
    assert_eq!(inflight.ack(ids[1], false), over(2));
    assert_eq!(inflight.ack(ids[1], false), Ok(None));
    inflight.resume(2);
    assert!(!inflight.has_window());
    assert_eq!(again(&mut inflight), [(ids[0], true), (ids[2], true)]);
    assert_eq!(inflight.ack(ids[0], false), over(1));
    assert!(!inflight.has_window(), "the last one is still to be sent again");
    assert_eq!(again(&mut inflight), [(ids[3], true)]);
    assert_eq!(inflight.ack(ids[2], false), over(3));
    assert!(inflight.has_window());
    assert_eq!(inflight.sent_seq(), 4);
}

#[test]
fn after_pubrec_only_pubrel_is_sent_again() {
    let mut inflight = Inflight::new(10);
    let ids: Vec<NonZeroU16> = (1..=2).map(|seq| inflight.send(exactly(seq))).collect();
    assert!(matches!(inflight.received(ids[0]), Received::First { seq: Some(1), .. }));
    let gate = AckGate::new(&Arc::default());
    inflight.release_after(ids[0], &gate);
    assert!(matches!(inflight.received(ids[0]), Received::Again(Some(_))));
    gate.release(Ok(()));
    inflight.resume(10);
    assert_eq!(again(&mut inflight), [(ids[0], false), (ids[1], true)]);
    assert_eq!(inflight.complete(ids[1]), Err(()), "PUBREC has not come");
    assert_eq!(inflight.complete(ids[0]), over(1));
    assert_eq!(inflight.complete(ids[0]), Ok(None));
    assert_eq!(inflight.ack(ids[1], true), over(2), "a PUBREC that says no");
    assert_eq!(inflight.len(), 0);
}

#[test]
fn a_release_that_was_not_committed_is_committed_before_it_is_sent_again() {
    let mut inflight = Inflight::new(10);
    let id = inflight.send(exactly(7));
    inflight.received(id);
    let gate = AckGate::new(&Arc::default());
    inflight.release_after(id, &gate);
    gate.release(Err(crate::reason::Reason::UnspecifiedError));
    inflight.resume(10);
    let again = inflight.next_again();
    assert!(matches!(again, Some(Again::Release { seq: Some(7), .. })), "{again:?}");
}

#[test]
fn an_acknowledgement_of_the_other_qos_is_a_violation() {
    let mut inflight = Inflight::new(10);
    let (one, two) = (inflight.send(once(1)), inflight.send(exactly(2)));
    assert_eq!(inflight.ack(two, false), Err(()));
    assert_eq!(inflight.ack(one, true), Err(()));
    assert!(matches!(inflight.received(one), Received::Violation));
    assert!(matches!(inflight.received(NonZeroU16::MAX), Received::Unknown));
}

#[test]
fn a_row_has_the_same_identifier_after_a_restart() {
    let mut before = Inflight::new(10);
    let id = before.send(exactly(70_000));
    let after = Inflight::new(10);
    assert_eq!(after.id_for(&exactly(70_000)), id);
}

#[test]
fn a_row_whose_identifier_is_in_flight_has_to_wait() {
    let mut inflight = Inflight::new(10);
    let id = inflight.send(once(5));
    assert!(inflight.has_id_for(5 + DURABLE_IDS - 1));
    assert!(!inflight.has_id_for(5 + DURABLE_IDS));
    assert_eq!(inflight.ack(id, false), over(5));
    assert!(inflight.has_id_for(5 + DURABLE_IDS));
}

proptest! {
    #[test]
    fn no_identifier_is_in_flight_twice(
        window in 1u16..20, steps in proptest::collection::vec(any::<u8>(), 1..2000),
        start in 1..=TRANSIENT_IDS, mut seq in 1..3 * DURABLE_IDS,
    ) {
        let mut inflight = Inflight::new(window);
        inflight.next_transient = start;
        let mut open: HashMap<NonZeroU16, Option<u64>> = HashMap::new();
        for choice in steps {
            if choice < 140 && inflight.has_window() {
                let row = (choice & 1 == 0).then(|| { seq += 1; seq });
                let id = inflight.send(delivery(Qos::AtLeastOnce, row));
                prop_assert_eq!(open.insert(id, row), None);
            } else if let Some(id) = open.keys().nth(usize::from(choice) % open.len().max(1)).copied() {
                let acked = inflight.ack(id, false).unwrap().unwrap();
                prop_assert_eq!(Some(acked.seq), open.remove(&id));
            }
            prop_assert_eq!(inflight.len(), open.len());
            prop_assert!(inflight.len() <= usize::from(window));
        }
    }
}
