//! A message on its way through the broker: decoded once, shared by everybody it is for.
//!
//! The payload is an exact copy out of the receive buffer, so that a waiting message keeps no more memory alive
//! than its own. A [`Gate`] holds back messages whose commit is still under way (`Client::publish_durably`).

use bytes::Bytes;
use bytestring::ByteString;
use proto::{ClientId, Identity, Qos, TimestampMs, TopicName};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// One published message, as the broker holds it.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) topic: TopicName,
    pub(crate) payload: Bytes,
    pub(crate) qos: Qos,
    /// The RETAIN flag as published.
    pub(crate) retain: bool,
    /// MQTT 5.0 properties; `None` if there are none, as for nearly every message.
    pub(crate) properties: Option<Box<Properties>>,
    pub(crate) sender: Arc<Sender>,
    /// When it may no longer be delivered (MQTT 5.0 3.3.2.3.3).
    pub(crate) expires_at: Option<TimestampMs>,
    pub(crate) gate: Option<Arc<Gate>>,
}

/// Who published a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The client id within its namespace.
    pub client_id: ClientId,
    /// Who it has proved to be.
    pub identity: Identity,
}

/// The properties of a PUBLISH packet that travel with the message (MQTT 5.0 3.3.2.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// The payload is UTF-8 text.
    pub is_utf8_payload: bool,
    /// A MIME type or the like.
    pub content_type: Option<ByteString>,
    /// Where an answer is expected.
    pub response_topic: Option<TopicName>,
    /// What the answer must carry.
    pub correlation_data: Option<Bytes>,
    /// Names and values of the publisher's own.
    pub user_properties: Vec<(ByteString, ByteString)>,
}

impl Properties {
    /// Boxed, or nothing if all are absent.
    pub(crate) fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

impl Message {
    /// Seconds it has left to live, at least 1; `None` if it never expires.
    pub(crate) fn expiry_left_secs(&self, now: TimestampMs) -> Option<u32> {
        let left_ms = self.expires_at?.0.saturating_sub(now.0);
        Some(u32::try_from(left_ms.div_ceil(1000)).unwrap_or(u32::MAX).max(1))
    }

    /// Whether its time is over.
    pub(crate) fn is_expired(&self, now: TimestampMs) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    /// The bytes it counts for against the bounds of queues.
    pub(crate) fn weight(&self) -> usize {
        const OVERHEAD: usize = 96;
        self.topic.as_str().len() + self.payload.len() + OVERHEAD
    }
}

/// Whether messages that wait for one commit may be seen.
#[derive(Debug, Default)]
pub(crate) struct Gate(AtomicU8);

/// State of a [`Gate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GateState {
    Closed,
    Open,
    /// The commit failed: the message was never published.
    Cancelled,
}

impl Gate {
    pub(crate) fn state(&self) -> GateState {
        match self.0.load(Ordering::Acquire) {
            0 => GateState::Closed,
            1 => GateState::Open,
            _ => GateState::Cancelled,
        }
    }

    pub(crate) fn settle(&self, is_committed: bool) {
        self.0.store(if is_committed { 1 } else { 2 }, Ordering::Release);
    }
}
