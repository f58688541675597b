//! What a publisher remembers of the topics it publishes on: the checked name, the permission, the route.
//!
//! One cache belongs to one publisher, so it needs no lock. At so many topics ([`TOPICS_MAX`], unless it was made for
//! fewer), or when their names are as long together as [`NAME_BYTES_EACH`] for each, it starts afresh.

use super::{Route, Router, Way};
use crate::permissions::Allowance;
use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use proto::TopicName;
use std::hash::BuildHasher;
use std::sync::Arc;

/// How many topics one publisher's cache holds.
pub(crate) const TOPICS_MAX: usize = 1024;

/// How long their names may be on average when it is full, in bytes: a name may be 64 KiB long.
const NAME_BYTES_EACH: usize = 256;

/// A topic that a publisher has used.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) topic: TopicName,
    /// What the publisher may publish on it; `None` if nothing.
    pub(crate) allowed: Option<Allowance>,
    pub(crate) way: Way,
}

/// The topics of one publisher.
#[derive(Debug)]
pub(crate) struct Cache {
    known: HashTable<Known>,
    names_bytes: usize,
    topics_max: usize,
    hasher: DefaultHashBuilder,
}

impl Default for Cache {
    fn default() -> Self {
        Self::with_room_for(TOPICS_MAX)
    }
}

impl Cache {
    /// One for so many topics.
    pub(crate) fn with_room_for(topics_max: usize) -> Self {
        let (known, hasher) = (HashTable::new(), DefaultHashBuilder::default());
        Self { known, names_bytes: 0, topics_max, hasher }
    }

    /// What is known of the topic with these bytes; else `check` gives the name and what is allowed on it.
    pub(crate) fn get_or_learn<E>(
        &mut self,
        topic: &[u8],
        router: &Router,
        check: impl FnOnce() -> Result<(TopicName, Option<Allowance>), E>,
    ) -> Result<&mut Known, E> {
        let hasher = &self.hasher;
        let hash = hasher.hash_one(topic);
        let is_it = |known: &Known| known.topic.as_str().as_bytes() == topic;
        let is_full = self.known.len() >= self.topics_max
            || self.names_bytes >= self.topics_max * NAME_BYTES_EACH;
        if is_full && self.known.find(hash, is_it).is_none() {
            self.known.clear();
            self.names_bytes = 0;
        }
        let hash_of = |known: &Known| hasher.hash_one(known.topic.as_str().as_bytes());
        match self.known.entry(hash, is_it, hash_of) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                let (topic, allowed) = check()?;
                let way = router.way(&topic);
                self.names_bytes += topic.as_str().len();
                Ok(place.insert(Known { topic, allowed, way }).into_mut())
            }
        }
    }
}

impl Known {
    /// The route, computed anew if a subscription that matters has changed since.
    pub(crate) fn route(&mut self, router: &Router) -> &Arc<Route> {
        self.way.refresh(router, &self.topic)
    }
}
