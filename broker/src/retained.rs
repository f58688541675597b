//! Retained messages of one namespace: the last one of each topic (MQTT 5.0 3.3.1.3).
//!
//! Kept in memory, in a tree over topic levels, with count and bytes bounded; the durable copy is a row that the
//! publisher's commit carries. Recursion is as deep as a topic, whose levels the caller bounds.

use crate::message::Message;
use hashbrown::HashMap;
use proto::{TimestampMs, TopicFilter, TopicName};
use std::sync::Arc;

/// The retained messages of a namespace.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    root: Node,
    /// How many there are.
    count: usize,
    /// What they weigh.
    bytes: usize,
}

#[derive(Debug, Default)]
struct Node {
    children: HashMap<String, Node>,
    message: Option<Arc<Message>>,
}

impl Retained {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// What they weigh, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The one of a topic.
    pub(crate) fn get(&self, topic: &TopicName) -> Option<&Arc<Message>> {
        let mut node = &self.root;
        for level in topic.levels() {
            node = node.children.get(level)?;
        }
        node.message.as_ref()
    }

    /// Keeps `message` in place of the one before.
    pub(crate) fn set(&mut self, message: Arc<Message>) {
        let node = message
            .topic
            .levels()
            .fold(&mut self.root, |node, level| node.children.entry_ref(level).or_default());
        self.bytes += message.weight();
        self.count += 1;
        if let Some(old) = node.message.replace(Arc::clone(&message)) {
            self.bytes -= old.weight();
            self.count -= 1;
        }
    }

    /// Forgets the one of a topic; says whether there was one.
    pub(crate) fn clear(&mut self, topic: &TopicName) -> bool {
        let levels: Vec<&str> = topic.levels().collect();
        let Some(old) = self.root.clear(&levels) else { return false };
        self.bytes -= old.weight();
        self.count -= 1;
        true
    }

    /// Those that match a filter and have not expired, in no particular order.
    pub(crate) fn matching(&self, filter: &TopicFilter, now: TimestampMs) -> Vec<Arc<Message>> {
        let levels: Vec<&str> = filter.levels().collect();
        let mut found = Vec::new();
        self.root.collect(&levels, true, &mut |message| {
            if !message.is_expired(now) {
                found.push(Arc::clone(message));
            }
        });
        found
    }
}

impl Node {
    fn clear(&mut self, levels: &[&str]) -> Option<Arc<Message>> {
        let Some((first, rest)) = levels.split_first() else { return self.message.take() };
        let child = self.children.get_mut(*first)?;
        let cleared = child.clear(rest);
        if child.message.is_none() && child.children.is_empty() {
            self.children.remove(*first);
        }
        cleared
    }

    fn collect(&self, levels: &[&str], is_root: bool, see: &mut impl FnMut(&Arc<Message>)) {
        // Wildcards at the first level pass `$` topics by (MQTT 5.0 4.7.2).
        let is_hidden = |level: &str| is_root && level.starts_with('$');
        match levels {
            [] => self.message.iter().for_each(see),
            ["#"] => {
                self.message.iter().for_each(&mut *see);
                for (level, child) in &self.children {
                    if !is_hidden(level) {
                        child.collect(levels, false, see);
                    }
                }
            }
            ["+", rest @ ..] => {
                for (level, child) in &self.children {
                    if !is_hidden(level) {
                        child.collect(rest, false, see);
                    }
                }
            }
            [level, rest @ ..] => {
                if let Some(child) = self.children.get(*level) {
                    child.collect(rest, false, see);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Sender;
    use bytes::Bytes;
    use proptest::prelude::*;
    use proto::{ClientId, Identity, Qos};
    use std::collections::BTreeSet;

    fn message(topic: &str, expires_at: Option<TimestampMs>) -> Arc<Message> {
        Arc::new(Message {
            topic: TopicName::parse(topic.to_owned()).unwrap(),
            payload: Bytes::from_static(b"x"),
            qos: Qos::AtMostOnce,
            retain: true,
            properties: None,
            sender: Arc::new(Sender {
                client_id: ClientId::parse("c").unwrap(),
                identity: Identity::Platform,
            }),
            expires_at,
            gate: None,
        })
    }

    #[test]
    fn the_last_one_of_a_topic_counts_once() {
        let mut retained = Retained::default();
        retained.set(message("a/b", None));
        retained.set(message("a/b", None));
        assert_eq!(retained.count(), 1);
        let topic = TopicName::parse("a/b").unwrap();
        assert!(retained.get(&topic).is_some());
        assert!(retained.clear(&topic));
        assert!(!retained.clear(&topic));
        assert_eq!((retained.count(), retained.bytes()), (0, 0));
        assert!(retained.root.children.is_empty());
    }

    #[test]
    fn an_expired_one_is_not_found() {
        let mut retained = Retained::default();
        retained.set(message("a", Some(TimestampMs(10))));
        let all = TopicFilter::parse("#").unwrap();
        assert_eq!(retained.matching(&all, TimestampMs(9)).len(), 1);
        assert_eq!(retained.matching(&all, TimestampMs(10)).len(), 0);
    }

    proptest! {
        #[test]
        fn it_finds_what_the_filter_matches(
            topics in proptest::collection::btree_set("(\\$x/)?([ab]?/){0,3}[ab]", 0..30),
            filter in "([ab+]?/){0,3}[ab+#]",
        ) {
            let filter = TopicFilter::parse(filter).unwrap();
            let mut retained = Retained::default();
            for topic in &topics {
                retained.set(message(topic, None));
            }
            let found: BTreeSet<String> = retained
                .matching(&filter, TimestampMs(0))
                .iter()
                .map(|message| message.topic.to_string())
                .collect();
            let expected: BTreeSet<String> = topics
                .into_iter()
                .filter(|topic| filter.matches(&TopicName::parse(topic.clone()).unwrap()))
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}
