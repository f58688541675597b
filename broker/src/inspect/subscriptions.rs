//! Subscriptions as operators see them.

use crate::group::SharedStrategy;
use crate::packet::{Options, RetainHandling};
use crate::session::drops::Drops;
use proto::{ClientId, Qos, Subscription, TopicName};
use serde::Serialize;
use std::collections::BTreeSet;
use std::num::NonZeroU32;

/// Members of a group that are shown by name.
pub(crate) const MEMBERS_SHOWN_MAX: usize = 1000;

/// One subscription of one client (MQTT 5.0 3.8.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubscriptionInfo {
    /// The client id.
    pub client_id: ClientId,
    /// As it stood in the SUBSCRIBE packet.
    pub topic_filter: String,
    /// The QoS granted.
    pub qos: Qos,
    /// Whether the client gets what it publishes itself.
    pub no_local: bool,
    /// Whether the RETAIN flag of messages stays as it was.
    pub retain_as_published: bool,
    /// 0: retained messages are sent on subscribing; 1: if the subscription is new; 2: not.
    pub retain_handling: u8,
    /// What messages are marked with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_id: Option<NonZeroU32>,
    /// The group of a shared subscription.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

impl SubscriptionInfo {
    pub(crate) fn new(
        client_id: &ClientId,
        subscription: &Subscription,
        (options, id): (Options, Option<NonZeroU32>),
    ) -> Self {
        Self {
            client_id: client_id.clone(),
            topic_filter: subscription.to_string(),
            qos: options.qos,
            no_local: options.no_local,
            retain_as_published: options.retain_as_published,
            retain_handling: match options.retain_handling {
                RetainHandling::AtSubscribe => 0,
                RetainHandling::AtNewSubscription => 1,
                RetainHandling::Never => 2,
            },
            subscription_id: id,
            group: subscription.group.as_deref().map(str::to_owned),
        }
    }
}

/// The group of a shared subscription (MQTT 5.0 4.8.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupInfo {
    /// Which member gets a message.
    pub strategy: SharedStrategy,
    /// How many members there are.
    pub members: usize,
    /// The first 1000 of them, in the order they came.
    pub member_list: Vec<GroupMember>,
    /// Messages waiting in memory for a member with room.
    pub queued: usize,
    /// Messages the store holds for the group, those with members included.
    pub stored: u64,
    /// Bytes the store holds for the group.
    pub stored_bytes: u64,
    /// Messages for the group that were dropped since the node started.
    pub dropped: u64,
    /// Why they were.
    pub drops: Drops,
    /// Messages whose time was over before a member got them.
    pub expired: u64,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupMember {
    /// The client id.
    pub client_id: ClientId,
    /// Whether it is connected.
    #[serde(rename = "connected")]
    pub is_connected: bool,
    /// The QoS granted.
    pub qos: Qos,
}

/// Which subscriptions are asked for; all that is given has to be so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubscriptionQuery {
    /// Those of a client.
    pub client_id: Option<ClientId>,
    /// Those to just this filter, in this group if it has one.
    pub subscription: Option<Subscription>,
    /// Those that get messages on a topic.
    pub topic: Option<TopicName>,
    /// Those of a group.
    pub group: Option<String>,
    /// What the filter contains, as it stood in the SUBSCRIBE packet.
    pub contains: Option<String>,
}

impl SubscriptionQuery {
    pub(crate) fn matches(&self, it: &Subscription) -> bool {
        self.subscription.as_ref().is_none_or(|asked| asked == it)
            && self.topic.as_ref().is_none_or(|topic| it.filter.matches(topic))
            && self.group.as_deref().is_none_or(|group| it.group.as_deref() == Some(group))
            && self.contains.as_deref().is_none_or(|text| it.to_string().contains(text))
    }
}

/// A place in the list of subscriptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionPlace {
    /// The client id.
    pub client_id: ClientId,
    /// The last subscription of it that was seen; `None` after all of them.
    pub subscription: Option<Subscription>,
}

/// The first client ids of many, each once.
#[derive(Debug)]
pub(crate) struct FirstClients {
    kept: BTreeSet<ClientId>,
    count: usize,
}

impl FirstClients {
    /// At most `count` of them.
    pub(crate) fn new(count: usize) -> Self {
        Self { kept: BTreeSet::new(), count: count.max(1) }
    }

    /// Takes one up if it is among the first so far.
    pub(crate) fn see(&mut self, client_id: &ClientId) {
        if self.kept.len() < self.count {
            self.kept.insert(client_id.clone());
        } else if self.kept.last().is_some_and(|last| client_id < last)
            && self.kept.insert(client_id.clone())
        {
            self.kept.pop_last();
        }
    }

    /// Those kept, in their order, and whether there may be more.
    pub(crate) fn end(self) -> (BTreeSet<ClientId>, bool) {
        let is_full = self.kept.len() == self.count;
        (self.kept, is_full)
    }
}
