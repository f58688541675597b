//! Packets read and written as a connection does it, without a socket.

use crate::codec::publish::{Outgoing, Writer};
use crate::codec::{self, Frame, publish};
use crate::message::Message;
use crate::packet::{AckKind, ConnAck, Manner, Reply, Version};
use crate::reason::Reason;
use bytes::BytesMut;
use proto::{Qos, TimestampMs};
use std::num::NonZeroU16;
use std::sync::Arc;

/// Longest packet that is read.
const PACKET_BYTES_MAX: usize = 1 << 20;

fn version(is_v5: bool) -> Version {
    if is_v5 { Version::V5 } else { Version::V3 }
}

/// Reads the packets that `bytes` consists of; answers how many there were before one that is broken.
pub fn decode(is_v5: bool, mut bytes: &[u8]) -> usize {
    let version = version(is_v5);
    let mut count = 0;
    while let Ok(Frame::Whole { first_byte, body_start, bytes: length }) =
        codec::frame(bytes, PACKET_BYTES_MAX)
    {
        let (packet, rest) = bytes.split_at(length);
        let is_good = match first_byte >> 4 {
            1 => {
                codec::connect::version(packet, body_start) == Ok(version)
                    && codec::connect::check(version, packet, body_start).is_ok()
                    && codec::decode(version, packet).is_ok()
            }
            3 => publish::read(version, packet, body_start)
                .is_ok_and(|read| read.properties.is_empty() || read.to_publish().is_ok()),
            _ => codec::decode(version, packet).is_ok(),
        };
        if !is_good {
            break;
        }
        count += 1;
        bytes = rest;
    }
    count
}

/// Writes packets to one client.
pub struct Encoder {
    version: Version,
    writer: Writer,
    message: Arc<Message>,
    out: BytesMut,
}

impl Encoder {
    /// To a client that sets no limits; what is published has this topic and payload. `None` for a bad topic.
    pub fn new(is_v5: bool, topic: &str, payload: &[u8]) -> Option<Self> {
        let version = version(is_v5);
        Some(Self {
            version,
            writer: Writer::new(version, usize::MAX, 0),
            message: super::message(topic, payload, Qos::AtLeastOnce)?,
            out: BytesMut::new(),
        })
    }

    /// Writes a PUBLISH of QoS 1; answers its length in bytes.
    pub fn publish(&mut self) -> usize {
        self.out.clear();
        let how = Outgoing {
            qos: Qos::AtLeastOnce,
            retain: false,
            dup: false,
            packet_id: Some(NonZeroU16::MIN),
            subscription_ids: &[],
            now: TimestampMs(0),
        };
        self.writer.write(&self.message, how, &mut self.out);
        self.out.len()
    }

    /// Writes a PUBACK; answers its length in bytes.
    pub fn puback(&mut self) -> usize {
        let (kind, packet_id) = (AckKind::PubAck, NonZeroU16::MIN);
        self.write(&Reply::ack(kind, packet_id, Reason::Success))
    }

    /// Writes a SUBACK for one filter; answers its length in bytes.
    pub fn suback(&mut self) -> usize {
        let outcomes = vec![Ok(Qos::AtLeastOnce)];
        self.write(&Reply::SubAck { packet_id: NonZeroU16::MIN, outcomes, why: None })
    }

    /// Writes a CONNACK; answers its length in bytes.
    pub fn connack(&mut self) -> usize {
        self.write(&Reply::ConnAck(Box::new(ConnAck {
            outcome: Ok(()),
            session_present: false,
            assigned_client_id: None,
            session_expiry_secs: None,
            server_keep_alive_secs: None,
            receive_max: 100,
            topic_alias_max: 10,
            packet_bytes_max: 1 << 20,
            response_info: None,
            auth: None,
        })))
    }

    fn write(&mut self, reply: &Reply) -> usize {
        self.out.clear();
        codec::encode(Manner::plain(self.version), reply, &mut self.out);
        self.out.len()
    }
}
