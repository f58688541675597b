//! Retained messages of one namespace: the last one of each topic (MQTT 5.0 3.3.1.3).
//!
//! They are in the store, and only there: which of two publishers was the last is decided by the order of commits, and
//! memory cannot disagree. Kept here are a weight for each topic, some 30 bytes of memory each, so that the bounds hold
//! without asking the store; and what is *pending*, submitted and not yet committed, which a subscriber must be given
//! as well, because it came too late to be on the route of that message. Reading is in [`crate::space`].

use crate::denial::Limit;
use crate::message::Message;
use hashbrown::{DefaultHashBuilder, HashMap, HashSet};
use proto::TopicName;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::ops::Bound;
use std::sync::Arc;

/// The bounds of one namespace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) messages_max: usize,
    pub(crate) bytes_max: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    hasher: DefaultHashBuilder,
    /// The weight of each topic's message, by the hash of the topic: at a million topics, the odds that any two share
    /// one are 1 in 30 million, and then the count is one too low.
    weights: HashMap<u64, u32>,
    bytes: usize,
    pending: BTreeMap<TopicName, Pending>,
    /// Topics that changed while the weights are being read from the store.
    changed: Option<HashSet<u64>>,
}

/// What is submitted for one topic.
#[derive(Debug, Default)]
struct Pending {
    /// Commits under way.
    commits: usize,
    /// What the last of them keeps (`None`: nothing); absent if only the commit may reveal it.
    last: Option<Option<Arc<Message>>>,
    /// Whether the weight may be another than that of what will be in the store.
    is_contested: bool,
}

impl Retained {
    /// One whose weights are still to be read from the store.
    pub(crate) fn loading() -> Self {
        Self { changed: Some(HashSet::new()), ..Self::default() }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.weights.len()
    }

    /// What they weigh, in bytes: topics and stored bodies.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A message is about to be submitted in place of the one before; refused if that would break a bound.
    pub(crate) fn set(
        &mut self,
        message: &Arc<Message>,
        weight: usize,
        bounds: Bounds,
    ) -> Result<(), Limit> {
        let hash = self.hash(&message.topic);
        let old = self.weights.get(&hash).copied();
        let bytes = self.bytes - old.unwrap_or(0) as usize + weight;
        let is_new = old.is_none();
        if is_new && self.count() >= bounds.messages_max {
            return Err(Limit::RetainedMessages);
        }
        if bytes > bounds.bytes_max {
            return Err(Limit::RetainedBytes);
        }
        self.weigh(hash, Some(weight));
        let pending = self.pending(&message.topic);
        // What waits for its commit to be seen is seen in the store.
        if message.gate.is_none() {
            pending.last = Some(Some(Arc::clone(message)));
        }
        Ok(())
    }

    /// The deletion of a topic's message is about to be submitted.
    pub(crate) fn clear(&mut self, message: &Message) {
        let hash = self.hash(&message.topic);
        self.weigh(hash, None);
        let pending = self.pending(&message.topic);
        if message.gate.is_none() {
            pending.last = Some(None);
        }
    }

    /// A commit has ended. Says whether the weight has to be read anew, with [`Retained::correct`].
    pub(crate) fn settled(&mut self, topic: &TopicName, is_committed: bool) -> bool {
        let Some(pending) = self.pending.get_mut(topic) else { return false };
        pending.commits -= 1;
        pending.is_contested |= !is_committed;
        if pending.commits > 0 {
            return false;
        }
        self.pending.remove(topic).is_some_and(|it| it.is_contested)
    }

    /// The weight of what the store has on a topic, unless something newer is pending.
    pub(crate) fn correct(&mut self, topic: &TopicName, weight: Option<usize>) {
        if !self.pending.contains_key(topic) {
            self.weigh(self.hash(topic), weight);
        }
    }

    /// Takes up the weight of a topic out of the store.
    pub(crate) fn load(&mut self, topic: &TopicName, weight: usize) {
        let hash = self.hash(topic);
        if self.changed.as_ref().is_some_and(|changed| !changed.contains(&hash)) {
            self.weigh(hash, Some(weight));
        }
    }

    /// All weights are read.
    pub(crate) fn loaded(&mut self) {
        self.changed = None;
    }

    /// What is pending on one topic: `Some(None)` if its message is being deleted.
    pub(crate) fn pending_on(&self, topic: &TopicName) -> Option<Option<Arc<Message>>> {
        self.pending.get(topic)?.last.clone()
    }

    /// What is pending on topics after a name, in order.
    pub(crate) fn pending_after<'a>(
        &'a self,
        after: Option<&TopicName>,
    ) -> impl Iterator<Item = (&'a TopicName, &'a Option<Arc<Message>>)> + use<'a> {
        let from = after.map_or(Bound::Unbounded, |it| Bound::Excluded(it.clone()));
        let range = self.pending.range((from, Bound::Unbounded));
        range.filter_map(|(topic, it)| Some((topic, it.last.as_ref()?)))
    }

    fn pending(&mut self, topic: &TopicName) -> &mut Pending {
        let hash = self.hash(topic);
        if let Some(changed) = &mut self.changed {
            changed.insert(hash);
        }
        let pending = self.pending.entry(topic.clone()).or_default();
        pending.commits += 1;
        pending.is_contested |= pending.commits > 1;
        pending
    }

    fn weigh(&mut self, hash: u64, weight: Option<usize>) {
        let old = match weight {
            Some(weight) => {
                self.bytes += weight;
                self.weights.insert(hash, u32::try_from(weight).unwrap_or(u32::MAX))
            }
            None => self.weights.remove(&hash),
        };
        self.bytes = self.bytes.saturating_sub(old.unwrap_or(0) as usize);
    }

    fn hash(&self, topic: &TopicName) -> u64 {
        self.hasher.hash_one(topic.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Sender;
    use bytes::Bytes;
    use proptest::prelude::*;
    use proto::{ClientId, Identity, Qos};
    use std::collections::VecDeque;

    const BOUNDS: Bounds = Bounds { messages_max: 3, bytes_max: 100 };

    fn message(topic: &TopicName, payload: &'static [u8]) -> Arc<Message> {
        Arc::new(Message {
            topic: topic.clone(),
            payload: Bytes::from_static(payload),
            qos: Qos::AtMostOnce,
            retain: true,
            properties: None,
            sender: Arc::new(Sender {
                client_id: ClientId::parse("c").unwrap(),
                identity: Identity::Platform,
            }),
            expires_at: None,
            gate: None,
        })
    }

    proptest! {
        /// Publishers set and clear; commits end in any order within what the store then has, some of them badly.
        #[test]
        fn once_all_commits_have_ended_it_weighs_what_the_store_has(
            steps in proptest::collection::vec((0u8..5, 0usize..5, 1usize..50, any::<bool>()), 0..80),
        ) {
            let topics = ["a", "b", "c", "d", "e"].map(|it| TopicName::parse(it).unwrap());
            let mut retained = Retained::default();
            let mut stored: BTreeMap<TopicName, usize> = BTreeMap::new();
            let mut commits: VecDeque<(TopicName, Option<usize>)> = VecDeque::new();
            let settle = |commit: Option<(TopicName, Option<usize>)>, is_committed: bool,
                          retained: &mut Retained, stored: &mut BTreeMap<TopicName, usize>| {
                let Some((topic, weight)) = commit else { return };
                match weight {
                    Some(weight) if is_committed => _ = stored.insert(topic.clone(), weight),
                    None if is_committed => _ = stored.remove(&topic),
                    _ => {}
                }
                if retained.settled(&topic, is_committed) {
                    retained.correct(&topic, stored.get(&topic).copied());
                }
            };
            for (step, topic, weight, choice) in steps {
                let topic = &topics[topic];
                match step {
                    0 | 1 => {
                        if retained.set(&message(topic, b"x"), weight, BOUNDS).is_ok() {
                            prop_assert!(retained.bytes() <= 100);
                            commits.push_back((topic.clone(), Some(weight)));
                        }
                    }
                    2 => {
                        retained.clear(&message(topic, b""));
                        commits.push_back((topic.clone(), None));
                    }
                    _ => {
                        // The store decides who is last: it may be somebody who asked first.
                        let commit = if choice { commits.pop_front() } else { commits.pop_back() };
                        settle(commit, weight > 5, &mut retained, &mut stored);
                    }
                }
            }
            while let Some(commit) = commits.pop_front() {
                settle(Some(commit), true, &mut retained, &mut stored);
            }
            prop_assert!(retained.pending.is_empty());
            prop_assert_eq!(retained.count(), stored.len());
            prop_assert_eq!(retained.bytes(), stored.values().sum::<usize>());
        }
    }

    #[test]
    fn what_changes_while_the_weights_are_read_is_not_overwritten() {
        let [a, b] = ["a", "b"].map(|it| TopicName::parse(it).unwrap());
        let mut retained = Retained::loading();
        retained.clear(&message(&a, b""));
        retained.settled(&a, true);
        retained.load(&a, 7);
        retained.load(&b, 9);
        retained.loaded();
        assert_eq!((retained.count(), retained.bytes()), (1, 9));
    }
}
