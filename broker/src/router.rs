//! Who gets a message: the subscriptions of one namespace, and routes computed from them.
//!
//! A [`Router`] keeps the subscriptions in a [`trie`] behind a lock and notes where they change ([`versions`]). A
//! publisher asks it once for each topic and keeps the [`Route`] it gets until a subscription has changed that may
//! concern the topic ([`cache`]), so that the way of a message takes no lock that others share.

pub(crate) mod cache;
mod levels;
mod members;
mod route;
mod trie;
mod versions;

pub(crate) use route::{Route, Target};

use crate::packet::Options;
use crate::session::Session;
use members::Member;
use parking_lot::RwLock;
use proto::{TopicFilter, TopicName};
use std::num::NonZeroU32;
use std::sync::Arc;
use trie::Trie;
use versions::{Stamp, Versions};

/// One subscription of one session, or of a group as a whole.
#[derive(Debug, Clone)]
pub(crate) struct Subscriber {
    pub(crate) session: Arc<Session>,
    pub(crate) options: Options,
    pub(crate) id: Option<NonZeroU32>,
}

impl Member for Subscriber {
    fn owner(&self) -> u64 {
        self.session.key().0
    }
}

/// The subscriptions of one namespace.
#[derive(Debug, Default)]
pub(crate) struct Router {
    trie: RwLock<Trie<Subscriber>>,
    /// Changed only under the lock of the trie.
    versions: Versions,
}

impl Router {
    /// Makes every route be computed anew, as after a change of what a client may receive.
    pub(crate) fn invalidate(&self) {
        let _unchanged = self.trie.write();
        self.versions.changed_everywhere();
    }

    /// Adds or replaces a subscription; says whether it is new.
    pub(crate) fn subscribe(&self, filter: &TopicFilter, subscriber: Subscriber) -> bool {
        let mut trie = self.trie.write();
        let old = trie.insert(filter, subscriber);
        self.versions.changed(filter);
        old.is_none()
    }

    /// Removes a subscription; says whether it was there.
    pub(crate) fn unsubscribe(&self, filter: &TopicFilter, session: &Session) -> bool {
        let mut trie = self.trie.write();
        let old = trie.remove(filter, session.key().0);
        if old.is_some() {
            self.versions.changed(filter);
        }
        old.is_some()
    }

    /// Calls `see` with every session, or group, that has subscribed to just this filter.
    pub(crate) fn each_under(&self, filter: &TopicFilter, mut see: impl FnMut(&Session)) {
        self.trie.read().under(filter).iter().for_each(|it| see(&it.session));
    }

    /// Calls `see` for every subscription that matches a topic, whether or not its session may get the message.
    pub(crate) fn each_for(&self, topic: &TopicName, mut see: impl FnMut(&Session)) {
        self.trie.read().visit(topic, |it| see(&it.session));
    }

    /// The way of messages on a topic.
    pub(crate) fn way(&self, topic: &TopicName) -> Way {
        let trie = self.trie.read();
        let stamp = self.versions.stamp(topic);
        let mut builder = route::Builder::default();
        trie.visit(topic, |subscriber| {
            if subscriber.session.may_receive(topic) {
                builder.add(subscriber);
            }
        });
        Way { route: Arc::new(builder.build()), stamp }
    }
}

/// The route of one topic, and up to which change of the subscriptions it is good.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    route: Arc<Route>,
    stamp: Stamp,
}

impl Way {
    /// The route as it was at the last look.
    pub(crate) fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// The route, computed anew if a subscription that matters has changed since.
    pub(crate) fn refresh(&mut self, router: &Router, topic: &TopicName) -> &Arc<Route> {
        if !router.versions.is_good(&mut self.stamp) {
            *self = router.way(topic);
        }
        &self.route
    }

    /// The same way for subscribers in process only.
    pub(crate) fn platform(self) -> Self {
        Self { route: Arc::new(self.route.platform()), stamp: self.stamp }
    }
}
