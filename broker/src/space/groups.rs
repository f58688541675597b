//! The shared subscriptions of one namespace: made by their first member, ended by their last.
//!
//! A group whose members may outlive their connections has a row with the key of its queue, so that after a restart
//! it goes on where it was. Locks are taken in this order: sessions, groups, members, queues.

use super::Space;
use super::sessions::{Carried, Known, Presence, Sessions};
use crate::durable::rows::GroupRow;
use crate::group::{Group, Member};
use crate::message::Sender;
use crate::packet::Options;
use crate::router::Subscriber;
use crate::session::Session;
use hashbrown::HashMap;
use proto::{ClientId, Identity, Subscription};
use std::num::NonZeroU32;
use std::sync::Arc;
use store::{Changes, ReadError, SessionKey, Snapshot};

/// All groups of a namespace.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by_name: HashMap<Subscription, Arc<Group>>,
    /// While the namespace is loaded: where the queues of its groups are.
    stored: HashMap<Subscription, SessionKey>,
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.by_name.values().for_each(|group| group.end());
    }
}

impl Space {
    /// Takes a session into a group, which is made if need be; says whether it is new there.
    pub(super) fn join_group(
        &self,
        session: &Arc<Session>,
        subscription: &Subscription,
        options: Options,
        id: Option<NonZeroU32>,
        is_durable: bool,
        changes: &mut Changes,
    ) -> bool {
        let mut groups = self.groups.lock();
        let Groups { by_name, stored } = &mut *groups;
        let group = by_name.entry_ref(subscription).or_insert_with(|| {
            let key = stored.remove(subscription);
            let session = Arc::new(group_session(self, key));
            Group::start(session, self.durability, &self.shared)
        });
        let queue_of_group = group.session().queue();
        if is_durable && !queue_of_group.is_durable() {
            drop(queue_of_group);
            self.keep_group(group, subscription, changes);
        } else {
            drop(queue_of_group);
        }
        let is_new = group.join(Member {
            session: Arc::clone(session),
            qos: options.qos,
            retain_as_published: options.retain_as_published,
            subscription_ids: id.map(|id| [id].into()),
        });
        let options = Options { qos: group.qos(), retain_as_published: true, ..Options::default() };
        let subscriber = Subscriber { session: Arc::clone(group.session()), options, id: None };
        self.router.subscribe(&subscription.filter, subscriber);
        is_new
    }

    /// From now on a group keeps its messages in the store.
    fn keep_group(&self, group: &Group, subscription: &Subscription, changes: &mut Changes) {
        let session = group.session();
        session.queue().make_durable();
        // The key may be one that a session long gone has had.
        changes.dequeue_all(session.key());
        let key = (self.namespace.clone(), subscription.to_string());
        changes.put(&key, &GroupRow { key: session.key().0 });
    }

    /// Takes a session out of a group, which ends with its last member; says whether it was there.
    pub(super) fn leave_group(
        &self,
        session: &Session,
        subscription: &Subscription,
        changes: &mut Changes,
    ) -> bool {
        let mut groups = self.groups.lock();
        let Some(group) = groups.by_name.get(subscription) else { return false };
        let was_member = group.leave(session);
        if group.members().is_empty() {
            self.router.unsubscribe(&subscription.filter, group.session());
            let mut queue = group.session().queue();
            queue.leave_backlog();
            if queue.is_durable() {
                let key = (self.namespace.clone(), subscription.to_string());
                changes.delete::<GroupRow>(&key);
                changes.dequeue_all(group.session().key());
            }
            drop(queue);
            group.end();
            groups.by_name.remove(subscription);
        }
        was_member
    }

    /// A client is connected, or has joined a group: what its groups have lent to members that are away is for it.
    pub(super) fn enter_groups(&self, sessions: &mut Sessions, client_id: &ClientId) {
        let Some(known) = sessions.by_client.get(client_id) else { return };
        for group in self.groups_of(known) {
            group.refresh();
            for member in group.members().iter().filter(|it| !it.session.is_connected()) {
                let away = sessions.by_client.get_mut(&member.session.sender().client_id);
                if let Some(Known { presence: Presence::Away { carried, .. }, .. }) = away
                    && let Some(inflight) = &mut carried.kept.inflight
                {
                    inflight.give_back_lent();
                }
            }
        }
    }

    /// A client is gone: what has been lent to it is for others, if there are any.
    pub(super) fn step_out_of_groups(&self, known: &Known, carried: &mut Carried) {
        for group in self.groups_of(known) {
            let has_others = group.members().iter().any(|it| it.session.is_connected());
            if let Some(inflight) = &mut carried.kept.inflight
                && has_others
            {
                inflight.give_back_lent();
            }
            group.session().wake();
        }
    }

    /// The group of a shared subscription.
    pub(super) fn group(&self, subscription: &Subscription) -> Option<Arc<Group>> {
        self.groups.lock().by_name.get(subscription).cloned()
    }

    /// Calls `see` with every member of the groups that are meant.
    pub(super) fn each_member_of(
        &self,
        is_meant: impl Fn(&Subscription) -> bool,
        mut see: impl FnMut(&ClientId),
    ) {
        let groups = self.groups.lock();
        for (_, group) in groups.by_name.iter().filter(|(name, _)| is_meant(name)) {
            group.members().iter().for_each(|it| see(&it.session.sender().client_id));
        }
    }

    /// How many shared subscriptions there are.
    pub(super) fn group_count(&self) -> usize {
        self.groups.lock().by_name.len()
    }

    fn groups_of(&self, known: &Known) -> Vec<Arc<Group>> {
        let groups = self.groups.lock();
        let shared = known.subscriptions.keys().filter(|it| it.group.is_some());
        shared.filter_map(|it| groups.by_name.get(it).cloned()).collect()
    }

    /// Takes up where the queues of the groups are; their members come with the sessions.
    pub(super) fn load_groups(&self, snapshot: &Snapshot) -> Result<(), ReadError> {
        let mut groups = self.groups.lock();
        for row in snapshot.scan::<GroupRow>(&store::prefix(&self.namespace))? {
            match row {
                Ok(((_, name), row)) => {
                    let key = SessionKey(row.key);
                    self.shared.know_session_key(key);
                    if let Ok(subscription) = Subscription::parse(name) {
                        groups.stored.insert(subscription, key);
                    }
                }
                Err(error) => tracing::error!(%error, "a shared subscription is left out"),
            }
        }
        Ok(())
    }

    /// The sessions are loaded: takes up the queues of groups with members, and forgets the others.
    pub(super) fn resume_groups(&self, snapshot: &Snapshot) -> Result<(), ReadError> {
        let mut groups = self.groups.lock();
        for group in groups.by_name.values() {
            let stat = snapshot.queue_stat(group.session().key())?;
            group.session().queue().restore(stat.count, stat.bytes, stat.last_seq);
        }
        let mut changes = Changes::new();
        for (subscription, key) in std::mem::take(&mut groups.stored) {
            changes.delete::<GroupRow>(&(self.namespace.clone(), subscription.to_string()));
            changes.dequeue_all(key);
        }
        if !changes.is_empty() {
            drop(self.shared.store.submit(changes));
        }
        Ok(())
    }
}

/// The session that publishers see in place of a group.
fn group_session(space: &Space, key: Option<SessionKey>) -> Session {
    let shared = &space.shared;
    let client_id = shared.voice().client_id.clone();
    let sender = Arc::new(Sender { client_id, identity: Identity::Platform });
    let session = Session::new(
        key.unwrap_or_else(|| shared.new_session_key()),
        sender,
        false,
        Arc::clone(&shared.queue_bounds),
        space.quota.backlog(),
    );
    if key.is_some() {
        session.queue().make_durable();
    }
    session
}
