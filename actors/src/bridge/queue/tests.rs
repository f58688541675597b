//! The queue against a simple model: any interleaving keeps order and loses nothing.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn queue(messages_max: u64, policy: Policy) -> Queue<u64> {
    Queue::new(QueueConfig { messages_max, bytes_max: 1 << 30, policy }, Vec::new())
}

fn put(queue: &mut Queue<u64>) -> Option<u64> {
    let seq = queue.admit(10).seq?;
    queue.committed(seq, seq);
    Some(seq)
}

#[test]
fn what_comes_back_goes_first_and_in_order() {
    let mut queue = queue(10, Policy::DropNewest);
    for _ in 0..4 {
        put(&mut queue);
    }
    let tickets: Vec<u64> = (0..3).map(|_| queue.next().unwrap().0).collect();
    assert!(queue.returned(tickets[2]) && queue.returned(tickets[0]));
    assert!(queue.next().is_none(), "one is still in flight");
    assert_eq!(queue.done(tickets[1]), Some(2));
    let order: Vec<_> = (0..3).map(|_| queue.next().unwrap().1.seq).collect();
    assert_eq!(order, [Some(1), Some(3), Some(4)]);
    assert_eq!(queue.len(), 3);
}

#[test]
fn the_bound_drops_the_newest_or_the_oldest() {
    let mut newest = queue(2, Policy::DropNewest);
    assert!(put(&mut newest).is_some() && put(&mut newest).is_some());
    assert_eq!(newest.admit(10), Admission { seq: None, evicted: vec![] });

    let mut oldest = queue(2, Policy::DropOldest);
    put(&mut oldest);
    put(&mut oldest);
    let (first, _) = oldest.next().unwrap();
    // What is in flight is not given up; the next one is.
    assert_eq!(oldest.admit(10), Admission { seq: Some(3), evicted: vec![2] });
    assert_eq!(oldest.admit(10), Admission { seq: None, evicted: vec![] }, "nothing waits");
    assert_eq!(oldest.done(first), Some(1));
    assert_eq!((oldest.len(), oldest.bytes()), (1, 10));
}

#[test]
fn bytes_are_a_bound_as_well() {
    let config = QueueConfig { messages_max: 100, bytes_max: 1024, policy: Policy::DropOldest };
    let mut queue: Queue<u64> = Queue::new(config, vec![(7, 1000)]);
    assert_eq!(queue.admit(2000), Admission { seq: None, evicted: vec![] }, "too large at all");
    assert_eq!(queue.admit(500), Admission { seq: Some(8), evicted: vec![7] });
}

#[test]
fn what_was_on_disk_at_the_start_is_read_first() {
    let config = QueueConfig::default();
    let mut queue: Queue<u64> = Queue::new(config, vec![(3, 1), (5, 1)]);
    assert_eq!(put(&mut queue), Some(6));
    assert!(queue.next().is_none());
    assert_eq!(queue.wants_to_read(), Some(0));
    assert!(queue.read(3, Some(3)) && queue.read(5, None));
    assert_eq!(queue.next().unwrap().1.seq, Some(3));
    assert_eq!(queue.wants_to_read(), Some(5));
    assert!(queue.read(6, Some(6)) && !queue.read(9, Some(9)));
    assert_eq!(queue.next().unwrap().1.seq, Some(6));
    assert_eq!(queue.len(), 2, "the damaged one is given up");
}

#[test]
fn without_a_connection_only_what_is_on_disk_stays() {
    let mut queue = queue(10, Policy::DropNewest);
    assert!(queue.push_transient(5, 0));
    put(&mut queue);
    assert!(queue.push_transient(5, 0));
    let (ticket, first) = queue.next().unwrap();
    assert_eq!(first.seq, None);
    assert!(!queue.returned(ticket));
    assert_eq!((queue.drop_transient(), queue.len()), (1, 1));
}

proptest! {
    /// Steps: put, commit, hand over, end, send back, read. What is done comes in order as long as nothing is sent
    /// back, and at the end nothing is missing.
    #[test]
    fn nothing_is_lost_and_nothing_is_new_after_its_successor(
        steps in proptest::collection::vec(0u8..10, 1..400),
    ) {
        let mut queue = queue(50, Policy::DropNewest);
        let mut disk: BTreeSet<u64> = BTreeSet::new();
        let mut committing: VecDeque<u64> = VecDeque::new();
        let mut flight: VecDeque<u64> = VecDeque::new();
        let (mut admitted, mut first_sent) = (BTreeSet::new(), Vec::new());
        let mut done = BTreeSet::new();
        for step in steps.into_iter().chain(std::iter::repeat_n([1, 9, 4, 6], 300).flatten()) {
            match step {
                0 | 2 => if let Some(seq) = queue.admit(1).seq {
                    admitted.insert(seq);
                    committing.push_back(seq);
                },
                1 => if let Some(seq) = committing.pop_front() {
                    disk.insert(seq);
                    queue.committed(seq, seq);
                },
                3..=5 => if let Some((ticket, ready)) = queue.next() {
                    if !first_sent.contains(&ready.item) {
                        first_sent.push(ready.item);
                    }
                    flight.push_back(ticket);
                },
                6 | 7 => if let Some(ticket) = flight.pop_front()
                    && let Some(seq) = queue.done(ticket) {
                    disk.remove(&seq);
                    done.insert(seq);
                },
                8 => if let Some(ticket) = flight.pop_back() {
                    queue.returned(ticket);
                },
                _ => if let Some(after) = queue.wants_to_read() {
                    let found: Vec<u64> = disk.range(after + 1..).take(3).copied().collect();
                    for seq in found {
                        queue.read(seq, Some(seq));
                    }
                },
            }
            prop_assert_eq!(queue.len(), (admitted.len() - done.len()) as u64);
        }
        prop_assert!(first_sent.is_sorted(), "{:?}", first_sent);
        prop_assert_eq!(done, admitted);
    }
}
