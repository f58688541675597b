//! The route of one topic: every session that gets a message on it, once (MQTT 5.0 3.3.4).
//!
//! Overlapping subscriptions of one session are merged: the highest QoS, all subscription identifiers. A shared
//! group is one stop on the route, by the session that is its own ([`crate::group`]).

use super::Subscriber;
use crate::session::Session;
use hashbrown::HashMap;
use proto::Qos;
use std::num::NonZeroU32;
use std::sync::Arc;

/// Where a message goes.
#[derive(Debug, Default)]
pub(crate) struct Route {
    pub(crate) targets: Vec<Target>,
}

/// One session on a route.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) session: Arc<Session>,
    /// The highest QoS of the subscriptions that match.
    pub(crate) qos: Qos,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    /// The identifiers of all subscriptions that match, in order of arrival.
    pub(crate) subscription_ids: Option<Arc<[NonZeroU32]>>,
}

impl Route {
    /// The stops of it that are subscribers in process.
    pub(crate) fn platform(&self) -> Self {
        let is_in_process = |target: &&Target| target.session.is_in_process();
        let targets = self.targets.iter().filter(is_in_process).cloned().collect();
        Self { targets }
    }

    /// Whether nobody is on it.
    pub(crate) fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }
}

/// Collects the subscriptions that match.
#[derive(Default)]
pub(super) struct Builder {
    targets: Vec<(Target, Vec<NonZeroU32>)>,
    /// Where a session stands in `targets`; a fan-out to many sessions must not search it.
    places: HashMap<u64, usize>,
}

impl Builder {
    pub(super) fn add(&mut self, subscriber: &Subscriber) {
        let key = subscriber.session.key().0;
        let Some(&place) = self.places.get(&key) else {
            self.places.insert(key, self.targets.len());
            let ids = subscriber.id.into_iter().collect();
            self.targets.push((target(subscriber), ids));
            return;
        };
        let (target, ids) = &mut self.targets[place];
        target.qos = target.qos.max(subscriber.options.qos);
        target.no_local &= subscriber.options.no_local;
        target.retain_as_published |= subscriber.options.retain_as_published;
        ids.extend(subscriber.id);
    }

    pub(super) fn build(self) -> Route {
        let with_ids = |(target, ids): (Target, Vec<NonZeroU32>)| Target {
            subscription_ids: shared(ids),
            ..target
        };
        Route { targets: self.targets.into_iter().map(with_ids).collect() }
    }
}

fn target(subscriber: &Subscriber) -> Target {
    Target {
        session: Arc::clone(&subscriber.session),
        qos: subscriber.options.qos,
        no_local: subscriber.options.no_local,
        retain_as_published: subscriber.options.retain_as_published,
        subscription_ids: None,
    }
}

fn shared(ids: Vec<NonZeroU32>) -> Option<Arc<[NonZeroU32]>> {
    (!ids.is_empty()).then(|| ids.into())
}
