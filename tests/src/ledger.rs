//! What was acknowledged against what arrived: at least once, in order for each publisher.
//!
//! Publishers number their messages, one topic each, and never send a number again. A message that was
//! not acknowledged may arrive or not. Pure; the tests feed it.

use std::collections::{BTreeMap, BTreeSet};

/// See the module.
#[derive(Debug, Default)]
pub struct Ledger {
    acknowledged: BTreeMap<String, BTreeSet<u64>>,
    delivered: BTreeMap<String, BTreeSet<u64>>,
    /// The last number of each topic on the present connection of the subscriber.
    last: BTreeMap<String, u64>,
    duplicates: u64,
}

impl Ledger {
    /// The publisher has got a PUBACK.
    pub fn acknowledge(&mut self, topic: &str, number: u64) {
        self.acknowledged.entry(topic.to_owned()).or_default().insert(number);
    }

    /// The subscriber has connected: deliveries begin with those that were in flight.
    pub fn reconnect(&mut self) {
        self.last.clear();
    }

    /// The subscriber was given a message; an error says how the order is broken.
    pub fn deliver(&mut self, topic: &str, number: u64) -> Result<(), String> {
        let last = self.last.insert(topic.to_owned(), number);
        if let Some(last) = last.filter(|last| *last > number) {
            return Err(format!("{topic}: {number} after {last} on one connection"));
        }
        let delivered = self.delivered.entry(topic.to_owned()).or_default();
        let highest = delivered.last().copied();
        if !delivered.insert(number) {
            self.duplicates += 1;
        } else if let Some(highest) = highest.filter(|highest| *highest > number) {
            return Err(format!("{topic}: {number} for the first time after {highest}"));
        }
        Ok(())
    }

    /// One of several subscribers that share the messages was given one: in no particular order.
    pub fn share(&mut self, topic: &str, number: u64) {
        let delivered = self.delivered.entry(topic.to_owned()).or_default();
        self.duplicates += u64::from(!delivered.insert(number));
    }

    /// What was acknowledged and has not arrived.
    pub fn missing(&self) -> Vec<(String, u64)> {
        let mut missing = Vec::new();
        for (topic, numbers) in &self.acknowledged {
            let delivered = self.delivered.get(topic);
            let is_missing = |number: &&u64| !delivered.is_some_and(|it| it.contains(number));
            missing.extend(numbers.iter().filter(is_missing).map(|it| (topic.clone(), *it)));
        }
        missing
    }

    /// How many were acknowledged, arrived, and arrived again: a line to print.
    pub fn summary(&self) -> String {
        let count =
            |it: &BTreeMap<String, BTreeSet<u64>>| it.values().map(BTreeSet::len).sum::<usize>();
        let (acknowledged, delivered) = (count(&self.acknowledged), count(&self.delivered));
        let duplicates = self.duplicates;
        format!("{acknowledged} acknowledged, {delivered} delivered, {duplicates} duplicates")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_found_and_a_duplicate_is_none() {
        let mut ledger = Ledger::default();
        for number in 1..=3 {
            ledger.acknowledge("a", number);
        }
        for number in [1, 2] {
            assert_eq!(ledger.deliver("a", number), Ok(()));
        }
        assert_eq!(ledger.missing(), [("a".to_owned(), 3)]);
        ledger.reconnect();
        for number in [2, 3, 4] {
            assert_eq!(ledger.deliver("a", number), Ok(()));
        }
        assert_eq!(ledger.missing(), []);
        assert_eq!(ledger.summary(), "3 acknowledged, 4 delivered, 1 duplicates");
    }

    #[test]
    fn who_shares_need_not_keep_an_order_but_must_not_lose() {
        let mut ledger = Ledger::default();
        for number in 1..=3 {
            ledger.acknowledge("a", number);
        }
        for number in [3, 1, 3] {
            ledger.share("a", number);
        }
        assert_eq!(ledger.missing(), [("a".to_owned(), 2)]);
        assert_eq!(ledger.summary(), "3 acknowledged, 2 delivered, 1 duplicates");
    }

    #[test]
    fn a_broken_order_is_found() {
        let mut ledger = Ledger::default();
        for (topic, number) in [("a", 1), ("a", 3), ("b", 1)] {
            assert_eq!(ledger.deliver(topic, number), Ok(()));
        }
        assert!(ledger.deliver("a", 1).is_err(), "backwards on one connection");
        ledger.reconnect();
        assert_eq!(ledger.deliver("a", 1), Ok(()), "in flight, so it comes again");
        ledger.reconnect();
        assert!(ledger.deliver("a", 2).is_err(), "new, but before what has been delivered");
    }
}
