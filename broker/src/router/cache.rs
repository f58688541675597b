//! What a publisher remembers of the topics it publishes on: the checked name, the permission, the route.
//!
//! One cache belongs to one publisher, so it needs no lock. At [`TOPICS_MAX`] topics it starts afresh.

use super::{Route, Router};
use crate::permissions::Allowance;
use hashbrown::HashMap;
use proto::TopicName;
use std::sync::Arc;

/// How many topics one publisher's cache holds.
pub(crate) const TOPICS_MAX: usize = 1024;

/// A topic that a publisher has used.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) topic: TopicName,
    /// What the publisher may publish on it; `None` if nothing.
    pub(crate) allowed: Option<Allowance>,
    route: Arc<Route>,
    version: u64,
}

/// The topics of one publisher.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    known: HashMap<Box<[u8]>, Known>,
}

impl Cache {
    /// What is known of the topic with these bytes.
    pub(crate) fn get(&mut self, topic: &[u8]) -> Option<&mut Known> {
        self.known.get_mut(topic)
    }

    /// Remembers a topic and returns it.
    pub(crate) fn learn(
        &mut self,
        topic: TopicName,
        allowed: Option<Allowance>,
        router: &Router,
    ) -> &mut Known {
        if self.known.len() >= TOPICS_MAX {
            self.known.clear();
        }
        let (route, version) = router.route(&topic);
        let bytes = topic.as_str().as_bytes().into();
        self.known.entry(bytes).insert(Known { topic, allowed, route, version }).into_mut()
    }
}

impl Known {
    /// The route, computed anew if a subscription has changed since.
    pub(crate) fn route(&mut self, router: &Router) -> &Arc<Route> {
        if self.version != router.version() {
            (self.route, self.version) = router.route(&self.topic);
        }
        &self.route
    }
}
