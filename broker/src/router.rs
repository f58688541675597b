//! Who gets a message: the subscriptions of one namespace, and routes computed from them.
//!
//! A [`Router`] keeps the subscriptions in a [`trie`] behind a lock and counts its changes in `version`. A publisher
//! asks it once for each topic and keeps the [`Route`] it gets for as long as the version stays the same
//! ([`cache`]), so that the way of a message takes no lock that others share.

pub(crate) mod cache;
mod route;
pub(crate) mod trie;

pub(crate) use route::{Route, Target};

use crate::packet::Options;
use crate::session::Session;
use parking_lot::RwLock;
use proto::{TopicFilter, TopicName};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use trie::Trie;

/// One subscription of one session, or of a group as a whole.
#[derive(Debug, Clone)]
pub(crate) struct Subscriber {
    pub(crate) session: Arc<Session>,
    pub(crate) options: Options,
    pub(crate) id: Option<NonZeroU32>,
}

/// The subscriptions of one namespace.
#[derive(Debug, Default)]
pub(crate) struct Router {
    trie: RwLock<Trie<Subscriber>>,
    version: AtomicU64,
}

impl Router {
    /// Rises with every change; a route is good as long as it has not risen.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Makes every route be computed anew, as after a change of what a client may receive.
    pub(crate) fn invalidate(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Adds or replaces a subscription; says whether it is new.
    pub(crate) fn subscribe(&self, filter: &TopicFilter, subscriber: Subscriber) -> bool {
        let key = subscriber.session.key();
        let mut trie = self.trie.write();
        let old = trie.insert(filter, subscriber, |it| it.session.key() == key);
        self.invalidate();
        old.is_none()
    }

    /// Removes a subscription; says whether it was there.
    pub(crate) fn unsubscribe(&self, filter: &TopicFilter, session: &Session) -> bool {
        let key = session.key();
        let mut trie = self.trie.write();
        let old = trie.remove(filter, |it| it.session.key() == key);
        self.invalidate();
        old.is_some()
    }

    /// The route of a topic, as of the version returned with it.
    pub(crate) fn route(&self, topic: &TopicName) -> (Arc<Route>, u64) {
        let trie = self.trie.read();
        let version = self.version();
        let mut builder = route::Builder::default();
        trie.visit(topic, |subscriber| {
            if subscriber.session.may_receive(topic) {
                builder.add(subscriber);
            }
        });
        (Arc::new(builder.build()), version)
    }
}
