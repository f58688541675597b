//! Rows of the broker: durable sessions and retained messages, each keyed within its namespace.

use super::body;
use crate::message::Message;
use crate::packet::{Options, RetainHandling};
use bytes::Bytes;
use proto::{ClientId, Identity, Namespace, Qos, Subscription, TimestampMs, TopicName};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;
use store::{Row, RowError, SessionKey};

/// A retained message.
pub(crate) struct RetainedRow {
    body: Bytes,
}

impl RetainedRow {
    pub(crate) fn new(message: &Message) -> Self {
        Self { body: body::encode(message) }
    }

    pub(crate) fn into_message(self) -> Result<Message, body::Damaged> {
        body::decode(self.body)
    }
}

impl Row for RetainedRow {
    type Key = (Namespace, TopicName);
    const TABLE: &'static str = "retained";
    const VERSION: u8 = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.body);
    }

    fn decode(_version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        Ok(Self { body: Bytes::copy_from_slice(bytes) })
    }
}

/// A session that outlives its connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionRow {
    /// Where its queue is.
    pub(crate) key: u64,
    pub(crate) client_id: ClientId,
    pub(crate) identity: Identity,
    /// Seconds it outlives its connection.
    pub(crate) expiry_secs: u32,
    /// When its connection ended; absent while it is connected.
    pub(crate) disconnected_at: Option<TimestampMs>,
    pub(crate) subscriptions: Vec<StoredSubscription>,
}

impl SessionRow {
    pub(crate) fn session_key(&self) -> SessionKey {
        SessionKey(self.key)
    }
}

impl Row for SessionRow {
    type Key = (Namespace, ClientId);
    const TABLE: &'static str = "sessions";
    const VERSION: u8 = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }

    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json(version, bytes)
    }
}

/// One subscription of a stored session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredSubscription {
    /// As it stood in the SUBSCRIBE packet.
    filter: String,
    qos: Qos,
    no_local: bool,
    retain_as_published: bool,
    id: Option<NonZeroU32>,
}

impl StoredSubscription {
    pub(crate) fn new(
        subscription: &Subscription,
        options: Options,
        id: Option<NonZeroU32>,
    ) -> Self {
        Self {
            filter: subscription.to_string(),
            qos: options.qos,
            no_local: options.no_local,
            retain_as_published: options.retain_as_published,
            id,
        }
    }

    /// The parts again; `None` if the filter is no filter any more.
    pub(crate) fn parts(&self) -> Option<(Subscription, Options, Option<NonZeroU32>)> {
        let options = Options {
            qos: self.qos,
            no_local: self.no_local,
            retain_as_published: self.retain_as_published,
            // It has its say on subscribing only.
            retain_handling: RetainHandling::Never,
        };
        Some((Subscription::parse(self.filter.clone()).ok()?, options, self.id))
    }
}
