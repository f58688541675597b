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
    /// Whether a route is still good; its stamp then moves on.
    fn is_good(&self, stamp: &mut Stamp) -> bool {
        self.versions.is_good(stamp)
    }

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

    /// The route of a topic, and up to which change it is good.
    pub(crate) fn route(&self, topic: &TopicName) -> (Arc<Route>, Stamp) {
        let trie = self.trie.read();
        let stamp = self.versions.stamp(topic);
        let mut builder = route::Builder::default();
        trie.visit(topic, |subscriber| {
            if subscriber.session.may_receive(topic) {
                builder.add(subscriber);
            }
        });
        (Arc::new(builder.build()), stamp)
    }
}
