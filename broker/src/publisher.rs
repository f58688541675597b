//! The publishing side of a client: checks what it sends, remembers its topics, hands messages to the outbox.

use crate::codec::publish::Incoming;
use crate::denial::{Denial, Limit};
use crate::figures::Counters;
use crate::message::{Message, Sender};
use crate::outbox::{Outbox, Routed};
use crate::packet::Publish;
use crate::permissions::{Allowance, Permissions};
use crate::reason::Reason;
use crate::router::cache::{Cache, Known};
use crate::space::Space;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use proto::{Qos, TimestampMs, TopicName};
use std::sync::Arc;

/// See the module.
pub(crate) struct Publisher {
    permissions: Permissions,
    cache: Cache,
    /// Woken when an acknowledgement comes due.
    waker: Arc<AtomicWaker>,
}

/// Whom a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    Everybody,
    /// Subscribers in process only: everybody else has it.
    Platform,
}

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The protocol is broken: the connection ends.
    Connection(Reason),
    /// This message only.
    Message(Denial),
}

impl Publisher {
    pub(crate) fn new(sender: Arc<Sender>, waker: Arc<AtomicWaker>) -> Self {
        Self::with(Permissions::of_role(sender), waker)
    }

    /// One that may do less than its role.
    pub(crate) fn with(permissions: Permissions, waker: Arc<AtomicWaker>) -> Self {
        Self { permissions, cache: Cache::default(), waker }
    }

    /// Remembers so many topics.
    pub(crate) fn remembering(self, topics_max: usize) -> Self {
        Self { cache: Cache::with_room_for(topics_max), ..self }
    }

    /// Goes by other permissions from now on.
    pub(crate) fn permit(&mut self, permissions: Permissions) {
        self.permissions = permissions;
        self.cache = Cache::default();
    }

    pub(crate) fn sender(&self) -> &Arc<Sender> {
        &self.permissions.sender
    }

    /// Publishes what lies in a receive buffer.
    pub(crate) fn publish_read(
        &mut self,
        space: &Arc<Space>,
        read: &Incoming<'_>,
        outbox: &mut Outbox,
    ) -> Result<Routed, Refused> {
        debug_assert!(read.properties.is_empty());
        let sender = Arc::clone(&self.permissions.sender);
        let waker = Arc::clone(&self.waker);
        let known = self.known(space, read.topic, (read.qos, read.retain), outbox)?;
        let topic = known.topic.clone();
        let is_for_nobody = known.route(space.router()).is_empty();
        // Many values of machines have no listener yet: they cost no copy.
        if is_for_nobody && !read.retain && space.recorder_of(&topic, &sender).is_none() {
            let reason = match read.qos {
                Qos::AtMostOnce => Reason::Success,
                _ => Reason::NoMatchingSubscribers,
            };
            return Ok(Routed::Done(reason));
        }
        let message = Arc::new(Message {
            topic,
            payload: Bytes::copy_from_slice(read.payload),
            qos: read.qos,
            retain: read.retain,
            properties: None,
            sender,
            expires_at: None,
            gate: None,
        });
        Ok(outbox.publish(space, &mut known.way, &message, &waker))
    }

    /// Publishes what came through the codec, with its properties.
    pub(crate) fn publish_decoded(
        &mut self,
        space: &Arc<Space>,
        publish: Publish,
        audience: Audience,
        now: TimestampMs,
        outbox: &mut Outbox,
    ) -> Result<Routed, Refused> {
        let mut message = self.message(space, publish, now, outbox)?;
        if message.properties.as_deref().is_some_and(|it| space.has_passed(it)) {
            Counters::add(&space.shared().counters.loops, 1);
            return Ok(Routed::Done(Reason::Success));
        }
        if audience == Audience::Everybody {
            return Ok(self.publish_message(space, &Arc::new(message), outbox));
        }
        // It has been retained with the other copies.
        message.retain = false;
        let mut way = space.router().way(&message.topic).platform();
        Ok(outbox.publish(space, &mut way, &Arc::new(message), &self.waker))
    }

    /// Publishes a message that has been checked.
    pub(crate) fn publish_message(
        &mut self,
        space: &Arc<Space>,
        message: &Arc<Message>,
        outbox: &mut Outbox,
    ) -> Routed {
        let waker = Arc::clone(&self.waker);
        let known = self.known_as_checked(space, &message.topic);
        outbox.publish(space, &mut known.way, message, &waker)
    }

    /// Whether a topic has a subscriber now, or somebody who keeps what this client publishes on it.
    pub(crate) fn is_heard(&mut self, space: &Arc<Space>, topic: &TopicName) -> bool {
        space.recorder_of(topic, &self.permissions.sender).is_some()
            || !self.known_as_checked(space, topic).way.route().is_empty()
    }

    fn known_as_checked(&mut self, space: &Space, topic: &TopicName) -> &mut Known {
        let learn = || Ok((topic.clone(), Some(Allowance::ALL)));
        let bytes = topic.as_str().as_bytes();
        let Ok(known) =
            self.cache.get_or_learn::<std::convert::Infallible>(bytes, space.router(), learn);
        known.route(space.router());
        known
    }

    /// The message of a PUBLISH packet or a will, if the client may send it.
    pub(crate) fn message(
        &mut self,
        space: &Arc<Space>,
        publish: Publish,
        now: TimestampMs,
        outbox: &mut Outbox,
    ) -> Result<Message, Refused> {
        let topic = self
            .known(space, publish.topic.as_bytes(), (publish.qos, publish.retain), outbox)?
            .topic
            .clone();
        let mut properties = publish.properties;
        if let Some(response_topic) = publish.response_topic {
            let response_topic = TopicName::parse(response_topic)
                .map_err(|_| Refused::Connection(Reason::TopicNameInvalid))?;
            if let Err(denial) = self.check_response_topic(space, &response_topic) {
                outbox.count_refused();
                return Err(Refused::Message(denial));
            }
            properties.get_or_insert_default().response_topic = Some(response_topic.detached());
        }
        let expires_at =
            publish.expiry_secs.map(|secs| TimestampMs(now.0 + u64::from(secs) * 1000));
        Ok(Message {
            topic,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            properties,
            sender: Arc::clone(&self.permissions.sender),
            expires_at,
            gate: None,
        })
    }

    fn check_response_topic(&self, space: &Space, topic: &TopicName) -> Result<(), Denial> {
        let (bytes, max) = (topic.as_str().len(), space.shared().limits.topic_bytes_max);
        if bytes > max {
            let limit = Limit::ResponseTopicBytes;
            return Err(Denial::over(Reason::TopicNameInvalid, limit, bytes, max));
        }
        match self.permissions.be_answered_on(topic) {
            true => Ok(()),
            false => {
                let rule = "the client may not be answered on this response topic";
                Err(Denial::rule(Reason::NotAuthorized, rule))
            }
        }
    }

    /// What is known of a topic that the client may publish on, with this QoS and retained or not.
    fn known(
        &mut self,
        space: &Arc<Space>,
        topic: &[u8],
        (qos, retain): (Qos, bool),
        outbox: &mut Outbox,
    ) -> Result<&mut Known, Refused> {
        let Self { permissions, cache, .. } = self;
        let known = cache.get_or_learn(topic, space.router(), || {
            let limits = &space.shared().limits;
            let over = |limit, found, max| {
                Refused::Message(Denial::over(Reason::TopicNameInvalid, limit, found, max))
            };
            if topic.len() > limits.topic_bytes_max {
                return Err(over(Limit::TopicBytes, topic.len(), limits.topic_bytes_max));
            }
            let text = std::str::from_utf8(topic)
                .map_err(|_| Refused::Connection(Reason::MalformedPacket))?;
            let name = TopicName::parse(text.to_owned())
                .map_err(|_| Refused::Connection(Reason::TopicNameInvalid))?;
            let levels = name.levels().count();
            if levels > limits.topic_levels_max {
                return Err(over(Limit::TopicLevels, levels, limits.topic_levels_max));
            }
            let allowed = permissions.publish(&name);
            Ok((name, allowed))
        });
        let refused = match known {
            Ok(known) if known.allowed.is_some_and(|it| it.covers(qos, retain)) => {
                return Ok(known);
            }
            Ok(known) => {
                let rule = match known.allowed {
                    None => "the client may not publish on this topic",
                    Some(_) => {
                        "the client may not publish with this QoS, or retained, on this topic"
                    }
                };
                Refused::Message(permissions.refuse_publish(&known.topic, rule))
            }
            Err(refused) => refused,
        };
        if matches!(refused, Refused::Message(_)) {
            outbox.count_refused();
        }
        Err(refused)
    }
}
