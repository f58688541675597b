//! Clients in process: sessions without a socket, first-class in everything else.
//!
//! A part of the platform attaches to a namespace and gets a [`Client`] to publish and subscribe with, and an
//! [`Inbox`] of deliveries that it acknowledges by hand. Until it does, the publisher's PUBACK waits; at most
//! `window` deliveries are handed out unacknowledged, further ones wait in the queue, and past the queue's bound
//! the publishers' sockets are not read. So a slow actor slows those who talk to it, and nobody else.

mod hidden;
mod inbox;

pub use inbox::{AckToken, Delivery, Inbox};

use crate::message::{Gate, Message, Properties, Sender};
use crate::outbox::Outbox;
use crate::packet::{Options, RetainHandling};
use crate::publisher::Publisher;
use crate::recorder::Recorder;
use crate::session::Session;
use crate::space::{Space, Walk, Wish};
use bytes::Bytes;
use bytestring::ByteString;
use hidden::{Hidden, Revealing};
use parking_lot::Mutex;
use proto::{Namespace, Qos, Subscription, TimestampMs, TopicFilter, TopicName};
use std::sync::Arc;
use store::{Changes, CommitError};

/// How a part of the platform attaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttachOptions {
    /// The most deliveries handed out and not acknowledged.
    pub window: usize,
}

/// A message to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Where to.
    pub topic: TopicName,
    /// What.
    pub payload: Bytes,
    /// With which guarantee.
    pub qos: Qos,
    /// Whether it is kept for later subscribers; an empty payload clears what is kept.
    pub retain: bool,
    /// MQTT 5.0 properties.
    pub properties: Properties,
    /// Seconds after which it is not delivered any more.
    pub expiry_secs: Option<u32>,
}

impl Outgoing {
    /// A message of QoS 0 that is not retained.
    pub fn new(topic: TopicName, payload: impl Into<Bytes>) -> Self {
        Self {
            topic,
            payload: payload.into(),
            qos: Qos::AtMostOnce,
            retain: false,
            properties: Properties::default(),
            expiry_secs: None,
        }
    }

    /// The same with a guarantee.
    #[must_use]
    pub fn qos(mut self, qos: Qos) -> Self {
        self.qos = qos;
        self
    }

    /// The same, kept for later subscribers.
    #[must_use]
    pub fn retained(mut self) -> Self {
        self.retain = true;
        self
    }

    /// The same, as the answer to a request with this correlation data.
    #[must_use]
    pub fn correlation(mut self, data: Option<Bytes>) -> Self {
        self.properties.correlation_data = data;
        self
    }

    /// The same with a content type.
    #[must_use]
    pub fn content_type(mut self, content_type: &'static str) -> Self {
        self.properties.content_type = Some(ByteString::from_static(content_type));
        self
    }

    fn into_message(
        self,
        sender: &Arc<Sender>,
        now: TimestampMs,
        gate: Option<&Arc<Gate>>,
    ) -> Message {
        let expires_at = self.expiry_secs.map(|secs| TimestampMs(now.0 + u64::from(secs) * 1000));
        Message {
            topic: self.topic,
            payload: self.payload,
            qos: self.qos,
            retain: self.retain,
            properties: self.properties.boxed(),
            sender: Arc::clone(sender),
            expires_at,
            gate: gate.cloned(),
        }
    }
}

/// The sending side of a client in process. Cloning shares the session, which ends with its [`Inbox`].
#[derive(Clone)]
pub struct Client {
    space: Arc<Space>,
    session: Arc<Session>,
    publisher: Arc<Mutex<Publisher>>,
}

/// A walk over retained messages in the order of their topics, without the figures of the broker itself.
#[derive(Debug)]
pub struct RetainedWalk(Walk);

impl RetainedWalk {
    /// Over those that match a filter, after a topic.
    pub fn new(filter: TopicFilter, after: Option<TopicName>) -> Self {
        Self(Walk::after(filter, after))
    }

    /// The last topic looked at.
    pub fn seen_to(&self) -> Option<&TopicName> {
        self.0.seen_to()
    }

    /// Whether all have been seen.
    pub fn is_over(&self) -> bool {
        self.0.is_over()
    }
}

impl Client {
    pub(crate) fn new(space: Arc<Space>, session: Arc<Session>) -> Self {
        let publisher = Publisher::new(Arc::clone(session.sender()), Arc::default());
        Self { space, session, publisher: Arc::new(Mutex::new(publisher)) }
    }

    /// The same client with a memory of its own for the topics that it publishes on, with room for so many: for one of
    /// many parts that share a client, which would else forget each other's.
    #[must_use]
    pub fn apart(&self, topics_max: usize) -> Self {
        let sender = Arc::clone(self.session.sender());
        let publisher = Publisher::new(sender, Arc::default()).remembering(topics_max);
        let (space, session) = (Arc::clone(&self.space), Arc::clone(&self.session));
        Self { space, session, publisher: Arc::new(Mutex::new(publisher)) }
    }

    /// Whether anybody would get what is published on a topic now, or keep it.
    pub fn is_heard(&self, topic: &TopicName) -> bool {
        self.publisher.lock().is_heard(&self.space, topic)
    }

    /// The namespace it lives in.
    pub fn namespace(&self) -> &Namespace {
        self.space.namespace()
    }

    /// Names the namespace as it stands on the path of messages over bridges; the first name stays. What comes from
    /// the network and has been here before ([`proto::hops`]) is then taken and goes nowhere.
    pub fn set_origin(&self, origin: &str) {
        self.space.set_origin(origin);
    }

    /// Has a copy of what is published in the namespace from now on kept; the first recorder stays.
    pub fn set_recorder(&self, recorder: Arc<dyn Recorder>) {
        self.space.set_recorder(recorder);
    }

    /// Subscribes. Retained messages are not sent; [`Client::retained`] reads them.
    pub fn subscribe(&self, filter: TopicFilter, qos: Qos) {
        let options = Options {
            qos,
            // Actors do not hear themselves.
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::Never,
        };
        let subscription = Subscription { group: None, filter };
        let wish = Wish { subscription, options, id: None };
        let (outcomes, _, _) = self.space.subscribe(&self.session, vec![Ok(wish)], 0);
        if let Some(Err(denial)) = outcomes.first() {
            let (client, why) = (&self.session.sender().client_id, &denial.why);
            tracing::error!(%client, reason = %denial.reason, %why, "cannot subscribe in process");
        }
    }

    /// Unsubscribes.
    pub fn unsubscribe(&self, filter: &TopicFilter) {
        let subscription = Subscription { group: None, filter: filter.clone() };
        self.space.unsubscribe(&self.session, &[Some(subscription)]);
    }

    /// Publishes at once. A retained copy, or one owed to a durable session, is submitted to the store and not
    /// waited for.
    pub fn publish(&self, message: Outgoing) {
        let mut outbox = Outbox::of(&self.space);
        self.route(vec![message], None, &mut outbox);
        outbox.flush(self.space.shared());
    }

    /// Commits `changes` together with every copy of `messages` that is retained or owed to a durable session, as
    /// one; only then is any of the messages to be seen. An error means that nothing has changed and nothing is
    /// sent. If the future is dropped the commit goes on, and the messages follow it.
    pub async fn publish_durably(
        &self,
        changes: Changes,
        messages: Vec<Outgoing>,
    ) -> Result<(), CommitError> {
        self.publish_gated(changes, messages).await.map(drop)
    }

    /// The same, and then waits for a subscriber that has fallen behind as a publisher on the network does: for a
    /// bounded moment, and not again for one that takes nothing.
    pub async fn publish_patiently(
        &self,
        changes: Changes,
        messages: Vec<Outgoing>,
    ) -> Result<(), CommitError> {
        if let Some(behind) = self.publish_gated(changes, messages).await? {
            self.space.shared().wait_for(&behind).await;
        }
        Ok(())
    }

    /// Says which subscriber has fallen behind, if one has.
    async fn publish_gated(
        &self,
        changes: Changes,
        messages: Vec<Outgoing>,
    ) -> Result<Option<Arc<Session>>, CommitError> {
        let gate = Arc::new(Gate::default());
        let mut outbox = Outbox::of(&self.space);
        outbox.changes = changes;
        self.route(messages, Some(&gate), &mut outbox);
        let (commit, settlement) = outbox.submit(self.space.shared());
        let hidden = Hidden { client: self.clone(), gate, settlement, outbox };
        match commit {
            Some(commit) => Revealing::new(commit, hidden).await,
            None => Ok(hidden.reveal(Ok(()))),
        }
    }

    /// The retained messages that match a filter.
    pub fn retained(&self, filter: &TopicFilter) -> Vec<(TopicName, Bytes)> {
        let found = self.space.retained_matching(filter);
        found.iter().map(|message| (message.topic.clone(), message.payload.clone())).collect()
    }

    /// The next retained messages of a walk, as deliveries that nobody waits for; there may be none although the
    /// walk is not over. About `rows_max` of them are looked at.
    pub fn retained_page(&self, walk: &mut RetainedWalk, rows_max: usize) -> Vec<Delivery> {
        walk.0.limit(rows_max);
        let found = self.space.retained_page(&mut walk.0);
        found.into_iter().map(|message| Delivery::new(message, AckToken::none())).collect()
    }

    fn route(&self, messages: Vec<Outgoing>, gate: Option<&Arc<Gate>>, outbox: &mut Outbox) {
        let now = self.space.shared().clock.now();
        let mut publisher = self.publisher.lock();
        let sender = Arc::clone(publisher.sender());
        for message in messages {
            let message = Arc::new(message.into_message(&sender, now, gate));
            // Nobody in process waits for an acknowledgement; the commit is waited for as a whole.
            let _ = publisher.publish_message(&self.space, &message, outbox);
        }
    }
}
