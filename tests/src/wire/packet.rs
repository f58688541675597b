//! MQTT packets as bytes (MQTT 3.1.1 and 5.0, sections 2 and 3).
//!
//! Only what the tests say and hear. Whatever is not understood fails the test, since only the broker
//! under test can have sent it.

use super::property::{self, Property};
use bytes::{Buf as _, BytesMut};
use serde_json::Value;

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1, level 4.
    V3,
    /// 5.0, level 5.
    V5,
}

/// An application message that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: Vec<u8>,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Whether it was retained.
    pub is_retained: bool,
    /// Whether it may have been sent before.
    pub is_dup: bool,
    /// 0 if the QoS is 0.
    pub packet_id: u16,
    /// None before version 5.
    pub properties: Vec<Property>,
}

impl Message {
    /// The payload as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).expect("the payload is text")
    }

    /// The payload as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).expect("the payload is JSON")
    }
}

/// A packet that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// CONNACK.
    ConnAck {
        /// Whether the session was there before.
        is_session_present: bool,
        /// Return code or reason code.
        code: u8,
        /// None before version 5.
        properties: Vec<Property>,
    },
    /// PUBLISH.
    Publish(Message),
    /// PUBACK.
    PubAck {
        /// Of the PUBLISH.
        packet_id: u16,
        /// 0 where there is none.
        code: u8,
    },
    /// PUBREC.
    PubRec {
        /// Of the PUBLISH.
        packet_id: u16,
        /// 0 where there is none.
        code: u8,
    },
    /// PUBREL.
    PubRel {
        /// Of the PUBLISH.
        packet_id: u16,
        /// 0 where there is none.
        code: u8,
    },
    /// PUBCOMP.
    PubComp {
        /// Of the PUBLISH.
        packet_id: u16,
        /// 0 where there is none.
        code: u8,
    },
    /// SUBACK.
    SubAck {
        /// Of the SUBSCRIBE.
        packet_id: u16,
        /// One for each filter.
        codes: Vec<u8>,
    },
    /// UNSUBACK.
    UnsubAck {
        /// Of the UNSUBSCRIBE.
        packet_id: u16,
        /// One for each filter; none before version 5.
        codes: Vec<u8>,
    },
    /// PINGRESP.
    PingResp,
    /// DISCONNECT.
    Disconnect {
        /// Why.
        code: u8,
    },
    /// AUTH.
    Auth {
        /// How to go on.
        code: u8,
        /// What it is about.
        properties: Vec<Property>,
    },
}

/// A packet with its first byte, its length and its body.
pub fn frame(first_byte: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first_byte];
    put_length(&mut packet, body.len());
    packet.extend_from_slice(body);
    packet
}

/// A variable byte integer (MQTT 5.0 1.5.5).
pub fn put_length(out: &mut Vec<u8>, mut rest: usize) {
    loop {
        let digit = (rest % 128) as u8;
        rest /= 128;
        out.push(if rest > 0 { digit | 0x80 } else { digit });
        if rest == 0 {
            return;
        }
    }
}

/// Binary data with its length, or a string that may be none.
pub fn binary(body: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).expect("at most 65,535 bytes");
    body.extend(length.to_be_bytes());
    body.extend_from_slice(bytes);
}

/// PUBLISH; a packet id is written if the QoS is not 0.
pub fn publish(
    version: Version,
    topic: &[u8],
    payload: &[u8],
    flags: u8,
    packet_id: u16,
) -> Vec<u8> {
    let properties: &[Property] = &[];
    match version {
        Version::V3 => frame(0x30 | flags, &publish_body(topic, flags, packet_id, &[], payload)),
        Version::V5 => publish_with(topic, payload, flags, packet_id, properties),
    }
}

/// PUBLISH of version 5 with properties.
pub fn publish_with(
    topic: &[u8],
    payload: &[u8],
    flags: u8,
    packet_id: u16,
    properties: &[Property],
) -> Vec<u8> {
    let properties = property::encode(properties);
    frame(0x30 | flags, &publish_body(topic, flags, packet_id, &properties, payload))
}

fn publish_body(
    topic: &[u8],
    flags: u8,
    packet_id: u16,
    properties: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let mut body = Vec::new();
    binary(&mut body, topic);
    if flags & 0b0110 != 0 {
        body.extend(packet_id.to_be_bytes());
    }
    body.extend_from_slice(properties);
    body.extend_from_slice(payload);
    body
}

/// SUBSCRIBE to one filter.
pub fn subscribe(version: Version, packet_id: u16, filter: &[u8], options: u8) -> Vec<u8> {
    subscribe_with(version, packet_id, &[], &[(filter, options)])
}

/// SUBSCRIBE with properties, which only version 5 has, to filters with their options.
pub fn subscribe_with(
    version: Version,
    packet_id: u16,
    properties: &[Property],
    filters: &[(&[u8], u8)],
) -> Vec<u8> {
    let mut body = head(version, packet_id, properties);
    for (filter, options) in filters {
        binary(&mut body, filter);
        body.push(*options);
    }
    frame(0x82, &body)
}

/// UNSUBSCRIBE.
pub fn unsubscribe(version: Version, packet_id: u16, filters: &[&[u8]]) -> Vec<u8> {
    let mut body = head(version, packet_id, &[]);
    for filter in filters {
        binary(&mut body, filter);
    }
    frame(0xA2, &body)
}

fn head(version: Version, packet_id: u16, properties: &[Property]) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.extend(property::encode(properties));
    }
    body
}

/// DISCONNECT of version 5.
pub fn disconnect(code: u8, properties: &[Property]) -> Vec<u8> {
    frame(0xE0, &[&[code], &property::encode(properties)[..]].concat())
}

/// PUBREC, success.
pub fn pub_rec(packet_id: u16) -> Vec<u8> {
    frame(0x50, &packet_id.to_be_bytes())
}

/// PUBREL, success.
pub fn pub_rel(packet_id: u16) -> Vec<u8> {
    frame(0x62, &packet_id.to_be_bytes())
}

/// PUBCOMP, success.
pub fn pub_comp(packet_id: u16) -> Vec<u8> {
    frame(0x70, &packet_id.to_be_bytes())
}

/// PUBACK, success.
pub fn pub_ack(packet_id: u16) -> Vec<u8> {
    frame(0x40, &packet_id.to_be_bytes())
}

/// The bytes of the packet at the front of what has been received, if it is whole.
pub fn cut(received: &mut BytesMut) -> Option<BytesMut> {
    let mut length = 0;
    for index in 0..4 {
        let byte = *received.get(1 + index)?;
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            let bytes = 2 + index + length;
            return (received.len() >= bytes).then(|| received.split_to(bytes));
        }
    }
    panic!("the broker sent a length of more than four bytes")
}

/// The packet at the front of what has been received, if it is whole.
pub fn decode(version: Version, received: &mut BytesMut) -> Option<Packet> {
    let mut body = cut(received)?;
    let first_byte = body.get_u8();
    while body.get_u8() & 0x80 != 0 {}
    Some(read(version, first_byte, body))
}

fn read(version: Version, first_byte: u8, mut body: BytesMut) -> Packet {
    match first_byte >> 4 {
        2 => {
            let is_session_present = body.get_u8() == 1;
            let code = body.get_u8();
            // A version that the broker does not know is refused in words of another.
            let version = if body.is_empty() { Version::V3 } else { version };
            Packet::ConnAck { is_session_present, code, properties: properties(version, &mut body) }
        }
        3 => Packet::Publish(read_publish(version, first_byte, body)),
        4..=7 => {
            let packet_id = body.get_u16();
            let code = body.first().copied().unwrap_or(0);
            match first_byte >> 4 {
                4 => Packet::PubAck { packet_id, code },
                5 => Packet::PubRec { packet_id, code },
                6 => Packet::PubRel { packet_id, code },
                _ => Packet::PubComp { packet_id, code },
            }
        }
        9 | 11 => {
            let packet_id = body.get_u16();
            properties(version, &mut body);
            let codes = body.to_vec();
            match first_byte >> 4 {
                9 => Packet::SubAck { packet_id, codes },
                _ => Packet::UnsubAck { packet_id, codes },
            }
        }
        13 => Packet::PingResp,
        14 => Packet::Disconnect { code: body.first().copied().unwrap_or(0) },
        15 => {
            let code = body.get_u8();
            Packet::Auth { code, properties: properties(version, &mut body) }
        }
        other => panic!("the broker sent a packet of type {other}: {body:?}"),
    }
}

/// The Reason String of an answer of version 5, given as bytes.
pub fn reason_string(packet: &[u8]) -> Option<String> {
    let mut body = BytesMut::from(packet);
    let kind = body.get_u8() >> 4;
    while body.get_u8() & 0x80 != 0 {}
    // So many bytes stand before the properties; some answers end there.
    let head = match kind {
        4..=7 => 3,
        2 | 9 | 11 => 2,
        14 => 1,
        other => panic!("a packet of type {other} has none"),
    };
    if body.len() <= head {
        return None;
    }
    body.advance(head);
    property::decode(&mut body).into_iter().find_map(|property| match property {
        Property::ReasonString(words) => Some(words),
        _ => None,
    })
}

fn read_publish(version: Version, first_byte: u8, mut body: BytesMut) -> Message {
    let length = usize::from(body.get_u16());
    let topic = String::from_utf8(body.split_to(length).to_vec()).expect("a topic is UTF-8");
    let qos = first_byte >> 1 & 0b11;
    let packet_id = if qos > 0 { body.get_u16() } else { 0 };
    let properties = properties(version, &mut body);
    let (is_retained, is_dup) = (first_byte & 1 == 1, first_byte & 0b1000 != 0);
    Message { topic, payload: body.to_vec(), qos, is_retained, is_dup, packet_id, properties }
}

fn properties(version: Version, body: &mut BytesMut) -> Vec<Property> {
    match version {
        Version::V3 => Vec::new(),
        Version::V5 => property::decode(body),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Hello;
    use super::*;

    #[test]
    fn packets_are_written_as_the_standard_shows() {
        let hello = Hello { keep_alive_secs: 10, ..Hello::new(Version::V3, "a") };
        let expected = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x0a\x00\x01a";
        assert_eq!(hello.encode(), expected);
        assert_eq!(publish(Version::V5, b"a", b"b", 2, 7), b"\x32\x07\x00\x01a\x00\x07\x00b");
        assert_eq!(frame(0x30, &[0; 200])[..3], [0x30, 0xC8, 0x01]);
    }

    #[test]
    fn what_is_written_is_read() {
        let packet = publish(Version::V5, "é".as_bytes(), &[1; 300], 3, 9);
        let mut received = BytesMut::from(&packet[..packet.len() - 1]);
        assert_eq!(decode(Version::V5, &mut received), None);
        received.extend_from_slice(&packet[packet.len() - 1..]);
        let Some(Packet::Publish(message)) = decode(Version::V5, &mut received) else {
            panic!("a PUBLISH was written")
        };
        assert_eq!((message.topic.as_str(), message.qos, message.packet_id), ("é", 1, 9));
        assert!(message.is_retained && message.payload == [1; 300] && received.is_empty());
    }
}
