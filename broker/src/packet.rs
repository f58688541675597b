//! Control packets as the broker sees them, whatever the protocol version they travel in.
//!
//! Received ones are [`Packet`]; the ones we send are [`Reply`]. PUBLISH packets to subscribers are written
//! straight from the message by [`crate::codec::publish`] and never take this form.

use crate::denial::{Denial, Why};
use crate::message::Properties;
use crate::reason::Reason;
use bytes::Bytes;
use bytestring::ByteString;
use proto::Qos;
use serde::{Deserialize, Serialize};
use std::num::{NonZeroU16, NonZeroU32};

/// The protocol version of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// MQTT 3.1 and 3.1.1.
    V3,
    /// MQTT 5.0.
    V5,
}

/// How a client is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manner {
    pub(crate) version: Version,
    /// It wants to be told why in words also where it may forbid that (MQTT 5.0 3.1.2.11.8).
    pub(crate) wants_words: bool,
    /// Longest packet that it takes, in bytes.
    pub(crate) packet_bytes_max: u32,
}

impl Manner {
    /// That with a client that takes everything.
    pub(crate) fn plain(version: Version) -> Self {
        Self { version, wants_words: true, packet_bytes_max: u32::MAX }
    }

    /// That with a client whose CONNECT cannot be read: it may take no more than the shortest CONNACK.
    pub(crate) fn terse(version: Version) -> Self {
        const CONNACK_BYTES: u32 = 5;
        Self { packet_bytes_max: CONNACK_BYTES, ..Self::plain(version) }
    }
}

/// A packet from a client.
#[derive(Debug)]
pub(crate) enum Packet {
    Connect(Box<Connect>),
    Publish(Box<Publish>),
    Ack(Ack),
    Subscribe {
        packet_id: NonZeroU16,
        id: Option<NonZeroU32>,
        filters: Vec<(ByteString, Options)>,
    },
    Unsubscribe {
        packet_id: NonZeroU16,
        filters: Vec<ByteString>,
    },
    PingReq,
    Disconnect {
        with_will: bool,
        session_expiry_secs: Option<u32>,
    },
    Auth(Box<AuthStep>),
    /// A packet that only a server sends.
    ServerOnly,
}

/// Which of the four packets that acknowledge a PUBLISH; the number is their packet type (MQTT 5.0 2.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "they are the names of the packets")]
pub(crate) enum AckKind {
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
}

/// One of them from a client (MQTT 5.0 3.4 to 3.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) kind: AckKind,
    pub(crate) packet_id: NonZeroU16,
    /// Its reason code is 0x80 or more: the client does not take the message, or does not know of it.
    pub(crate) is_refusal: bool,
}

/// CONNECT (MQTT 5.0 3.1).
#[derive(Debug)]
pub(crate) struct Connect {
    pub(crate) version: Version,
    pub(crate) clean_start: bool,
    pub(crate) keep_alive_secs: u16,
    pub(crate) client_id: ByteString,
    pub(crate) user_name: Option<ByteString>,
    pub(crate) password: Option<Bytes>,
    pub(crate) will: Option<Box<Publish>>,
    /// Seconds the session outlives its connection; `u32::MAX` never ends.
    pub(crate) session_expiry_secs: u32,
    pub(crate) receive_max: u16,
    pub(crate) packet_bytes_max: Option<u32>,
    /// It wants to be told why in words (MQTT 5.0 3.1.2.11.8).
    pub(crate) wants_words: bool,
    /// It wants to know where it may be answered (MQTT 5.0 3.1.2.11.7).
    pub(crate) wants_response_info: bool,
    pub(crate) topic_alias_max: u16,
    /// How it wants to prove who it is, if not by what CONNECT has room for (MQTT 5.0 3.1.2.11.9).
    pub(crate) auth_method: Option<ByteString>,
    pub(crate) auth_data: Option<Bytes>,
}

/// AUTH (MQTT 5.0 3.15), either way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AuthStep {
    pub(crate) stage: AuthStage,
    pub(crate) method: Option<ByteString>,
    pub(crate) data: Option<Bytes>,
}

/// The reason code of AUTH (MQTT 5.0 3.15.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthStage {
    /// 0x00: the broker believes the client.
    Success,
    /// 0x18.
    Continue,
    /// 0x19: the client wants to prove itself anew.
    Again,
}

/// A PUBLISH, or a will, from a client.
#[derive(Debug, Default)]
pub(crate) struct Publish {
    pub(crate) topic: ByteString,
    pub(crate) payload: Bytes,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) packet_id: Option<NonZeroU16>,
    pub(crate) properties: Option<Box<Properties>>,
    pub(crate) response_topic: Option<ByteString>,
    pub(crate) expiry_secs: Option<u32>,
    /// The topic may be empty if there is one.
    pub(crate) topic_alias: Option<NonZeroU16>,
    /// Of a will: seconds it waits after its client is lost.
    pub(crate) delay_secs: u32,
    pub(crate) has_subscription_id: bool,
}

/// Subscription options (MQTT 5.0 3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Options {
    pub(crate) qos: Qos,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) retain_handling: RetainHandling,
}

/// When retained messages are sent on subscribing (MQTT 5.0 3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RetainHandling {
    #[default]
    AtSubscribe,
    AtNewSubscription,
    Never,
}

/// A packet to a client, PUBLISH apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    ConnAck(Box<ConnAck>),
    Ack {
        kind: AckKind,
        packet_id: NonZeroU16,
        reason: Reason,
        why: Option<Why>,
    },
    SubAck {
        packet_id: NonZeroU16,
        outcomes: Vec<Result<Qos, Reason>>,
        why: Option<Why>,
    },
    /// Whether each subscription was there.
    UnsubAck {
        packet_id: NonZeroU16,
        outcomes: Vec<Result<bool, Reason>>,
        why: Option<Why>,
    },
    PingResp,
    Auth(Box<AuthStep>),
    Disconnect(Denial),
}

impl Reply {
    /// One of the four acknowledgements that says no more than its code.
    pub(crate) fn ack(kind: AckKind, packet_id: NonZeroU16, reason: Reason) -> Self {
        Self::Ack { kind, packet_id, reason, why: None }
    }
}

impl Connect {
    /// How the client is spoken to.
    pub(crate) fn manner(&self) -> Manner {
        Manner {
            version: self.version,
            wants_words: self.wants_words,
            packet_bytes_max: self.packet_bytes_max.unwrap_or(u32::MAX),
        }
    }
}

/// CONNACK (MQTT 5.0 3.2).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConnAck {
    pub(crate) outcome: Result<(), Denial>,
    pub(crate) session_present: bool,
    pub(crate) assigned_client_id: Option<ByteString>,
    pub(crate) session_expiry_secs: Option<u32>,
    pub(crate) server_keep_alive_secs: Option<u16>,
    pub(crate) receive_max: u16,
    pub(crate) topic_alias_max: u16,
    pub(crate) packet_bytes_max: u32,
    /// What the topics begin with on which the client may be answered (MQTT 5.0 3.2.2.3.15).
    pub(crate) response_info: Option<String>,
    /// The method by which the client has proved who it is, and the last data of it.
    pub(crate) auth: Option<(ByteString, Option<Bytes>)>,
}
