//! What a publisher remembers of the topics it publishes on: the checked name, the permission, the route.
//!
//! One cache belongs to one publisher, so it needs no lock. At [`TOPICS_MAX`] topics, or when their names are
//! [`NAMES_BYTES_MAX`] long together, it starts afresh.

use super::{Route, Router, Way};
use crate::permissions::Allowance;
use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use proto::TopicName;
use std::hash::BuildHasher;
use std::sync::Arc;

/// How many topics one publisher's cache holds.
pub(crate) const TOPICS_MAX: usize = 1024;

/// How long their names may be together, in bytes: a name may be 64 KiB long.
const NAMES_BYTES_MAX: usize = 256 * 1024;

/// A topic that a publisher has used.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) topic: TopicName,
    /// What the publisher may publish on it; `None` if nothing.
    pub(crate) allowed: Option<Allowance>,
    pub(crate) way: Way,
}

/// The topics of one publisher.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    known: HashTable<Known>,
    names_bytes: usize,
    hasher: DefaultHashBuilder,
}

impl Cache {
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
        let is_full = self.known.len() >= TOPICS_MAX || self.names_bytes >= NAMES_BYTES_MAX;
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
