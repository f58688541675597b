//! Retained messages as operators see them.

use crate::message::{Message, Properties, Sender};
use bytes::Bytes;
use proto::{Qos, TimestampMs, TopicFilter, TopicName};
use std::sync::Arc;

/// Payloads of one page together, in bytes: with the one that goes past it, the page ends.
pub(crate) const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// A retained message (MQTT 5.0 3.3.1.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetainedInfo {
    /// Its topic.
    pub topic: TopicName,
    /// The bytes of its payload.
    pub bytes: usize,
    /// Its payload, if it was asked for.
    pub payload: Option<Bytes>,
    /// The QoS it was published with.
    pub qos: Qos,
    /// Its properties, if its payload was asked for.
    pub properties: Option<Properties>,
    /// Who published it.
    pub publisher: Arc<Sender>,
    /// Seconds that it has left; `None` if it stays.
    pub expires_in_secs: Option<u32>,
}

impl RetainedInfo {
    pub(crate) fn new(message: &Message, with_payload: bool, now: TimestampMs) -> Self {
        let properties = || message.properties.as_deref().cloned().unwrap_or_default();
        Self {
            topic: message.topic.clone(),
            bytes: message.payload.len(),
            payload: with_payload.then(|| message.payload.clone()),
            qos: message.qos,
            properties: with_payload.then(properties),
            publisher: Arc::clone(&message.sender),
            expires_in_secs: message.expiry_left_secs(now),
        }
    }
}

/// Which retained messages are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetainedQuery {
    /// Those of topics that it matches.
    pub filter: TopicFilter,
    /// What the topic contains.
    pub contains: Option<String>,
    /// Whether payloads and properties are given as well.
    pub with_payload: bool,
}
