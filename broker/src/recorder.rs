//! Who keeps a copy of what is published in a namespace, in the commit that makes it durable.
//!
//! An edge node's uplink is one. What it keeps is on disk before anybody has seen it, and before its publisher is told
//! that it has arrived: nothing that was acknowledged, or shown to a subscriber, can be missing in what goes up.

use crate::message::{Message, Properties, Sender};
use bytes::Bytes;
use proto::{Qos, TimestampMs, TopicName};
use store::Changes;

/// See the module. Called on the way of every message: it must not wait.
pub trait Recorder: Send + Sync {
    /// Whether it keeps what this client publishes on this topic.
    fn wants(&self, topic: &TopicName, sender: &Sender) -> bool;

    /// Adds to `changes` what keeps these messages, in the order they were published in, and calls `submit` with
    /// them, once. What two calls keep must be submitted in the order of the calls. Says what [`Recorder::settled`]
    /// is to be told.
    fn record(
        &self,
        messages: &[Recorded<'_>],
        changes: Changes,
        submit: &mut dyn FnMut(Changes),
    ) -> u64;

    /// The commit has ended.
    fn settled(&self, ticket: u64, is_committed: bool);
}

/// A message that is kept.
#[derive(Debug, Clone, Copy)]
pub struct Recorded<'a> {
    /// Where to.
    pub topic: &'a TopicName,
    /// What.
    pub payload: &'a Bytes,
    /// The guarantee it was published with.
    pub qos: Qos,
    /// The RETAIN flag as published.
    pub retain: bool,
    /// MQTT 5.0 properties, if there are any.
    pub properties: Option<&'a Properties>,
    /// When it may no longer be delivered.
    pub expires_at: Option<TimestampMs>,
}

impl<'a> From<&'a Message> for Recorded<'a> {
    fn from(message: &'a Message) -> Self {
        Self {
            topic: &message.topic,
            payload: &message.payload,
            qos: message.qos,
            retain: message.retain,
            properties: message.properties.as_deref(),
            expires_at: message.expires_at,
        }
    }
}
