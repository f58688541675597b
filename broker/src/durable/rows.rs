//! Rows of the broker: durable sessions, the QoS 2 messages they have received, and retained messages.

use super::body;
use crate::message::Message;
use crate::packet::{Options, RetainHandling};
use crate::space::Will;
use bytes::{Buf, Bytes};
use proto::{ClientId, Identity, Namespace, Qos, Subscription, TimestampMs, TopicName};
use serde::{Deserialize, Serialize};
use std::num::{NonZeroU16, NonZeroU32};
use store::{Row, RowError, SessionKey};

/// A retained message, but for its topic, which is in its key.
pub(crate) struct RetainedRow {
    body: Bytes,
}

impl RetainedRow {
    pub(crate) fn new(message: &Message) -> Self {
        let mut body = Vec::with_capacity(message.weight() + 16);
        body::put_without_topic(message, &mut body);
        Self { body: body.into() }
    }

    pub(crate) fn into_message(self, topic: &TopicName) -> Result<Message, body::Damaged> {
        body::decode(self.body, Some(topic))
    }

    /// The bytes it counts for.
    pub(crate) fn weight(&self, topic: &TopicName) -> usize {
        topic.as_str().len() + self.body.len()
    }
}

impl Row for RetainedRow {
    type Key = (Namespace, TopicName);
    const TABLE: &'static str = "retained";
    // 1 has the topic in it; the body says so itself.
    const VERSION: u8 = 2;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.body);
    }

    fn decode(_version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        Ok(Self { body: Bytes::copy_from_slice(bytes) })
    }
}

/// The will of a client that is connected, or lost and not yet spoken for.
pub(crate) struct WillRow {
    delay_secs: u32,
    /// 0 if it never expires.
    expiry_secs: u32,
    body: Bytes,
}

impl WillRow {
    pub(crate) fn new(will: &Will) -> Self {
        let body = body::encode(&will.message);
        Self { delay_secs: will.delay_secs, expiry_secs: will.expiry_secs.unwrap_or(0), body }
    }

    /// Seconds it waits after its client is lost.
    pub(crate) fn delay_secs(&self) -> u32 {
        self.delay_secs
    }

    /// The message, as published now.
    pub(crate) fn into_message(self, now: TimestampMs) -> Result<Message, body::Damaged> {
        let lives_ms = u64::from(self.expiry_secs) * 1000;
        let expires_at = (lives_ms > 0).then(|| TimestampMs(now.0 + lives_ms));
        Ok(Message { expires_at, ..body::decode(self.body, None)? })
    }
}

impl Row for WillRow {
    type Key = (Namespace, ClientId);
    const TABLE: &'static str = "wills";
    const VERSION: u8 = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.delay_secs.to_be_bytes());
        out.extend(self.expiry_secs.to_be_bytes());
        out.extend_from_slice(&self.body);
    }

    fn decode(_version: u8, mut bytes: &[u8]) -> Result<Self, RowError> {
        let delay_secs = bytes.try_get_u32().map_err(RowError::malformed)?;
        let expiry_secs = bytes.try_get_u32().map_err(RowError::malformed)?;
        Ok(Self { delay_secs, expiry_secs, body: Bytes::copy_from_slice(bytes) })
    }
}

/// A shared subscription whose messages outlive connections. Its members are in their own rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupRow {
    /// Where its queue is.
    pub(crate) key: u64,
}

impl Row for GroupRow {
    /// The namespace, and `$share/<group>/<filter>`.
    type Key = (Namespace, String);
    const TABLE: &'static str = "groups";
    const VERSION: u8 = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }

    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json(version, bytes)
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
    /// The last message of its queue that was sent when its connection ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sent_seq: Option<u64>,
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

/// A QoS 2 message that a durable session has received and its client has not released (MQTT 5.0 4.3.3). The key is
/// that of the session's queue and the packet identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReceivedRow {
    /// It was also for subscribers in process, whose work this row does not tell of.
    pub(crate) for_platform: bool,
}

impl ReceivedRow {
    /// The key of a packet identifier.
    pub(crate) fn key(session: SessionKey, packet_id: NonZeroU16) -> (u64, u64) {
        (session.0, u64::from(packet_id.get()))
    }

    /// The packet identifier of a key.
    pub(crate) fn packet_id((_, packet_id): (u64, u64)) -> Option<NonZeroU16> {
        NonZeroU16::new(u16::try_from(packet_id).ok()?)
    }

    /// What the keys of one session begin with.
    pub(crate) fn prefix(session: SessionKey) -> Vec<u8> {
        store::prefix(&session.0)
    }
}

impl Row for ReceivedRow {
    type Key = (u64, u64);
    const TABLE: &'static str = "received";
    const VERSION: u8 = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.for_platform));
    }

    fn decode(_version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        match bytes {
            [flag @ (0 | 1)] => Ok(Self { for_platform: *flag == 1 }),
            _ => Err(RowError::malformed("no flag")),
        }
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
    /// It has its say on subscribing only, and is kept to be shown.
    #[serde(default, skip_serializing_if = "is_usual")]
    retain_handling: RetainHandling,
    id: Option<NonZeroU32>,
}

fn is_usual(it: &RetainHandling) -> bool {
    *it == RetainHandling::default()
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
            retain_handling: options.retain_handling,
            id,
        }
    }

    /// The parts again; `None` if the filter is no filter any more.
    pub(crate) fn parts(&self) -> Option<(Subscription, Options, Option<NonZeroU32>)> {
        let options = Options {
            qos: self.qos,
            no_local: self.no_local,
            retain_as_published: self.retain_as_published,
            retain_handling: self.retain_handling,
        };
        Some((Subscription::parse(self.filter.clone()).ok()?, options, self.id))
    }
}
