//! Subscribing and unsubscribing (MQTT 5.0 3.8 and 3.10): who is routed to, and which retained messages are due.

use super::sessions::Known;
use super::{Space, Walk};
use crate::connection::replay::Asked;
use crate::denial::{Denial, Limit};
use crate::packet::{Options, RetainHandling};
use crate::reason::Reason;
use crate::router::Subscriber;
use crate::session::Session;
use proto::{Qos, Subscription};
use std::num::NonZeroU32;
use std::sync::Arc;
use store::Changes;

/// One filter of a SUBSCRIBE packet.
pub(crate) struct Wish {
    pub(crate) subscription: Subscription,
    pub(crate) options: Options,
    pub(crate) id: Option<NonZeroU32>,
}

impl Space {
    /// Subscribes; the outcome of each wish, the retained messages asked for, and what to commit before SUBACK.
    /// A wish is refused while `unsent` subscriptions that wait for theirs, and those before, reach the bound.
    pub(crate) fn subscribe(
        &self,
        session: &Arc<Session>,
        wishes: Vec<Result<Wish, Denial>>,
        unsent: usize,
    ) -> (Vec<Result<Qos, Denial>>, Vec<Asked>, Changes) {
        let mut sessions = self.sessions.lock();
        let mut outcomes = Vec::with_capacity(wishes.len());
        let mut replay = Vec::new();
        let mut changes = Changes::new();
        let Some(known) = sessions.by_client.get_mut(&session.sender().client_id) else {
            let ended = Denial::rule(Reason::UnspecifiedError, "the session has ended");
            return (vec![Err(ended); wishes.len()], replay, changes);
        };
        for wish in wishes {
            // Else a client that asks again and again without reading would have us remember it without end.
            let max = self.shared.limits.subscriptions_max;
            let is_full = unsent + replay.len() >= max;
            outcomes.push(wish.and_then(|wish| match is_full {
                true => Err(Denial::full(Reason::QuotaExceeded, Limit::UnsentSubscriptions, max)),
                false => self.subscribe_one(known, wish, &mut replay, &mut changes),
            }));
        }
        if known.expiry_secs > 0 {
            let (key, row) = self.row(known, None);
            changes.put(&key, &row);
        }
        self.enter_groups(&mut sessions, &session.sender().client_id);
        (outcomes, replay, changes)
    }

    fn subscribe_one(
        &self,
        known: &mut Known,
        wish: Wish,
        replay: &mut Vec<Asked>,
        changes: &mut Changes,
    ) -> Result<Qos, Denial> {
        let Wish { subscription, options, id } = wish;
        if !known.subscriptions.contains_key(&subscription) {
            self.has_room_for_subscription(known)?;
        }
        let session = &known.session;
        let is_durable = known.expiry_secs > 0;
        let is_new = self.route(session, &subscription, options, id, is_durable, changes);
        let wants_retained = match options.retain_handling {
            RetainHandling::AtSubscribe => true,
            RetainHandling::AtNewSubscription => is_new,
            RetainHandling::Never => false,
        };
        // A shared subscription gets no retained messages (MQTT 5.0 4.8.2).
        if wants_retained && subscription.group.is_none() {
            let walk = Walk::new(subscription.filter.clone());
            let subscription_ids = id.map(|id| [id].into());
            replay.push(Asked { walk, qos: options.qos, subscription_ids });
        }
        known.subscriptions.insert(subscription, (options, id));
        Ok(options.qos)
    }

    /// Whether a session may have one more subscription.
    fn has_room_for_subscription(&self, known: &Known) -> Result<(), Denial> {
        let max = self.shared.limits.subscriptions_max;
        if known.subscriptions.len() >= max {
            return Err(Denial::full(Reason::QuotaExceeded, Limit::Subscriptions, max));
        }
        match self.shared.is_short_for(known.session.sender()) {
            true => Err(Denial::memory_short(Reason::QuotaExceeded)),
            false => Ok(()),
        }
    }

    /// Unsubscribes; whether each was there, and what to commit before UNSUBACK.
    pub(crate) fn unsubscribe(
        &self,
        session: &Arc<Session>,
        subscriptions: &[Option<Subscription>],
    ) -> (Vec<bool>, Changes) {
        let mut sessions = self.sessions.lock();
        let mut changes = Changes::new();
        let Some(known) = sessions.by_client.get_mut(&session.sender().client_id) else {
            return (vec![false; subscriptions.len()], changes);
        };
        let mut existed = Vec::with_capacity(subscriptions.len());
        for subscription in subscriptions {
            let removed = subscription.as_ref().is_some_and(|subscription| {
                known.subscriptions.remove(subscription);
                self.unroute(subscription, session, &mut changes)
            });
            existed.push(removed);
        }
        if known.expiry_secs > 0 {
            let (key, row) = self.row(known, None);
            changes.put(&key, &row);
        }
        (existed, changes)
    }

    /// Has messages on the topics of a subscription come to a session, or to its group; says whether that is new.
    pub(super) fn route(
        &self,
        session: &Arc<Session>,
        subscription: &Subscription,
        options: Options,
        id: Option<NonZeroU32>,
        is_durable: bool,
        changes: &mut Changes,
    ) -> bool {
        if subscription.group.is_some() {
            return self.join_group(session, subscription, options, id, is_durable, changes);
        }
        let subscriber = Subscriber { session: Arc::clone(session), options, id };
        self.router.subscribe(&subscription.filter, subscriber)
    }

    /// Has no more messages come of a subscription; says whether it was there.
    pub(super) fn unroute(
        &self,
        subscription: &Subscription,
        session: &Session,
        changes: &mut Changes,
    ) -> bool {
        if subscription.group.is_some() {
            return self.leave_group(session, subscription, changes);
        }
        self.router.unsubscribe(&subscription.filter, session)
    }
}
