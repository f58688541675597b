//! The route of one topic: every session that gets a message on it, once (MQTT 5.0 3.3.4).
//!
//! Overlapping subscriptions of one session are merged: the highest QoS, all subscription identifiers. A shared
//! group is one stop on the route; which member gets a message is decided message by message.

use super::Subscriber;
use crate::packet::Options;
use crate::session::Session;
use bytestring::ByteString;
use hashbrown::HashMap;
use proto::Qos;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where a message goes.
#[derive(Debug, Default)]
pub(crate) struct Route {
    pub(crate) targets: Vec<Target>,
    pub(crate) groups: Vec<Group>,
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

/// The members of one shared subscription (MQTT 5.0 4.8.2).
#[derive(Debug)]
pub(crate) struct Group {
    members: Vec<Target>,
    next: AtomicUsize,
}

impl Route {
    /// The stops of it that are subscribers in process.
    pub(crate) fn platform(&self) -> Self {
        let is_in_process = |target: &&Target| target.session.is_in_process();
        let targets = self.targets.iter().filter(is_in_process).cloned().collect();
        Self { targets, groups: Vec::new() }
    }

    /// Whether nobody is on it.
    pub(crate) fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.groups.is_empty()
    }
}

impl Group {
    /// The next member in turn, a connected one if there is any.
    pub(crate) fn pick(&self) -> &Target {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let in_turn = |offset| &self.members[(first.wrapping_add(offset)) % self.members.len()];
        (0..self.members.len())
            .map(in_turn)
            .find(|target| target.session.is_connected())
            .unwrap_or_else(|| in_turn(0))
    }
}

/// Collects the subscriptions that match.
#[derive(Default)]
pub(super) struct Builder {
    targets: Vec<(Target, Vec<NonZeroU32>)>,
    /// Where a session stands in `targets`; a fan-out to many sessions must not search it.
    places: HashMap<u64, usize>,
    groups: HashMap<ByteString, Vec<Target>>,
}

impl Builder {
    pub(super) fn add(&mut self, subscriber: &Subscriber) {
        if let Some(group) = &subscriber.group {
            let ids: Vec<NonZeroU32> = subscriber.id.into_iter().collect();
            let member = target(subscriber, subscriber.options, ids);
            self.groups.entry(group.clone()).or_default().push(member);
            return;
        }
        let key = subscriber.session.key().0;
        let Some(&place) = self.places.get(&key) else {
            self.places.insert(key, self.targets.len());
            let ids = subscriber.id.into_iter().collect();
            self.targets.push((target(subscriber, subscriber.options, Vec::new()), ids));
            return;
        };
        let (target, ids) = &mut self.targets[place];
        target.qos = target.qos.max(subscriber.options.qos);
        target.no_local &= subscriber.options.no_local;
        target.retain_as_published |= subscriber.options.retain_as_published;
        ids.extend(subscriber.id);
    }

    /// The route; `turn` says which member of a shared group is first.
    pub(super) fn build(self, turn: usize) -> Route {
        let with_ids = |(target, ids): (Target, Vec<NonZeroU32>)| Target {
            subscription_ids: shared(ids),
            ..target
        };
        let group = |members| Group { members, next: AtomicUsize::new(turn) };
        Route {
            targets: self.targets.into_iter().map(with_ids).collect(),
            groups: self.groups.into_values().map(group).collect(),
        }
    }
}

fn target(subscriber: &Subscriber, options: Options, ids: Vec<NonZeroU32>) -> Target {
    Target {
        session: Arc::clone(&subscriber.session),
        qos: options.qos,
        no_local: options.no_local,
        retain_as_published: options.retain_as_published,
        subscription_ids: shared(ids),
    }
}

fn shared(ids: Vec<NonZeroU32>) -> Option<Arc<[NonZeroU32]>> {
    (!ids.is_empty()).then(|| ids.into())
}
