//! The subscriptions of a namespace as operators see them, and their ending by hand.

use crate::durable::rows::SessionRow;
use crate::inspect::subscriptions::{
    FirstClients, GroupInfo, GroupMember, MEMBERS_SHOWN_MAX, SubscriptionInfo, SubscriptionPlace,
    SubscriptionQuery,
};
use crate::inspect::{PATIENCE, Page};
use crate::space::Space;
use crate::space::sessions::{Known, Presence};
use proto::{ClientId, Subscription};
use std::collections::BTreeSet;
use store::{Changes, Commit};
use tokio::time::Instant;

impl Space {
    /// Subscriptions after a place, by client id and filter, at most `limit`. The platform's own are not among them.
    pub(crate) fn subscriptions(
        &self,
        query: &SubscriptionQuery,
        after: Option<&SubscriptionPlace>,
        limit: usize,
    ) -> Page<SubscriptionInfo, SubscriptionPlace> {
        let began = Instant::now();
        let (clients, has_more) = self.subscribed_clients(query, after, limit.saturating_add(1));
        let mut page = Page { items: Vec::new(), next: None };
        let mut place = None;
        for client_id in clients {
            let from = after.filter(|it| it.client_id == client_id);
            let found = self.subscriptions_of(&client_id, query, from, limit - page.items.len());
            for (subscription, info) in found {
                if page.items.len() == limit {
                    page.next = place;
                    return page;
                }
                place = Some(SubscriptionPlace {
                    client_id: client_id.clone(),
                    subscription: Some(subscription),
                });
                page.items.push(info);
            }
            place = Some(SubscriptionPlace { client_id, subscription: None });
            if began.elapsed() > PATIENCE {
                page.next = place;
                return page;
            }
        }
        page.next = place.filter(|_| has_more);
        page
    }

    /// One subscription, with its group if it is shared.
    pub(crate) fn subscription(
        &self,
        client_id: &ClientId,
        subscription: &Subscription,
    ) -> Option<(SubscriptionInfo, Option<GroupInfo>)> {
        let sessions = self.sessions.lock();
        let known = sessions.by_client.get(client_id).filter(|it| !it.session.is_in_process())?;
        let options = *known.subscriptions.get(subscription)?;
        let info = SubscriptionInfo::new(client_id, subscription, options);
        drop(sessions);
        Some((info, self.group_info(subscription)))
    }

    fn group_info(&self, subscription: &Subscription) -> Option<GroupInfo> {
        let group = self.group(subscription)?;
        let members = group.members();
        let shown = members.iter().take(MEMBERS_SHOWN_MAX).map(|member| GroupMember {
            client_id: member.session.sender().client_id.clone(),
            is_connected: member.session.is_connected(),
            qos: member.qos,
        });
        let queue = group.session().queue();
        Some(GroupInfo {
            strategy: self.shared.policies.shared_strategy,
            members: members.len(),
            member_list: shown.collect(),
            queued: queue.len(),
            stored: queue.stored(),
            stored_bytes: queue.stored_bytes(),
            dropped: queue.drops.total(),
            drops: queue.drops,
            expired: queue.expired,
        })
    }

    /// The first clients, after a place, that may have what is asked for; and whether there may be more.
    fn subscribed_clients(
        &self,
        query: &SubscriptionQuery,
        after: Option<&SubscriptionPlace>,
        count: usize,
    ) -> (BTreeSet<ClientId>, bool) {
        let mut first = FirstClients::new(count);
        let mut see = |client_id: &ClientId| {
            let is_next = after.is_none_or(|after| match after.subscription {
                Some(_) => *client_id >= after.client_id,
                None => *client_id > after.client_id,
            });
            if is_next {
                first.see(client_id);
            }
        };
        if let Some(client_id) = &query.client_id {
            see(client_id);
        } else if let Some(subscription) = &query.subscription {
            match &subscription.group {
                Some(_) => self.each_member_of(|it| it == subscription, &mut see),
                None => self.router.each_under(&subscription.filter, |session| {
                    see(&session.sender().client_id);
                }),
            }
        } else if let Some(topic) = &query.topic {
            // A group stands there by a session that is nobody's; its members come after.
            self.router.each_for(topic, |session| see(&session.sender().client_id));
            self.each_member_of(|it| it.filter.matches(topic), &mut see);
        } else {
            self.sessions.lock().by_client.keys().for_each(see);
        }
        first.end()
    }

    /// What one client has subscribed to after a place, in order; one more than `room`, so that the end is seen.
    fn subscriptions_of(
        &self,
        client_id: &ClientId,
        query: &SubscriptionQuery,
        after: Option<&SubscriptionPlace>,
        room: usize,
    ) -> Vec<(Subscription, SubscriptionInfo)> {
        let sessions = self.sessions.lock();
        let known = sessions.by_client.get(client_id).filter(|it| !it.session.is_in_process());
        let Some(known) = known else { return Vec::new() };
        let after = after.and_then(|it| it.subscription.as_ref());
        let is_asked_for =
            |it: &&Subscription| after.is_none_or(|after| *it > after) && query.matches(it);
        let names = known.subscriptions.keys().filter(is_asked_for);
        let names = crate::inspect::first(names, room.saturating_add(1));
        let info = |name: &Subscription| {
            let options = *known.subscriptions.get(name)?;
            Some((name.clone(), SubscriptionInfo::new(client_id, name, options)))
        };
        names.into_iter().filter_map(info).collect()
    }

    /// Ends a subscription of a client, which is not told; `None` if there is none. What waits already still goes
    /// out (MQTT 5.0 3.10.4).
    pub(crate) fn end_subscription(
        &self,
        client_id: &ClientId,
        subscription: &Subscription,
    ) -> Option<Commit> {
        let mut sessions = self.sessions.lock();
        let known = sessions.by_client.get_mut(client_id)?;
        if known.session.is_in_process() {
            return None;
        }
        known.subscriptions.remove(subscription)?;
        let mut changes = Changes::new();
        self.unroute(subscription, &known.session, &mut changes);
        if known.expiry_secs > 0 {
            let (since, sent_seq) = left(known);
            let (key, row) = self.row(known, since);
            changes.put(&key, &SessionRow { sent_seq, ..row });
        }
        // Under the lock, so that rows of one session are submitted in the order of their changes.
        Some(self.shared.store.submit(changes))
    }
}

/// Since when a client is away, and up to where it was sent what waits for it.
fn left(known: &Known) -> (Option<proto::TimestampMs>, Option<u64>) {
    match &known.presence {
        Presence::Connected { .. } => (None, None),
        Presence::Away { since, carried } => {
            let is_known = carried.kept.inflight.is_some();
            (Some(*since), is_known.then(|| carried.kept.sent_seq()))
        }
    }
}
