//! MQTT packets as bytes (MQTT 3.1.1 and 5.0, sections 2 and 3).
//!
//! Only what the tests say and hear. Properties of incoming packets are skipped. Whatever is not
//! understood fails the test, since only the broker under test can have sent it.

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

/// What is published should the client vanish.
#[derive(Debug, Clone)]
pub struct Will {
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// A CONNECT packet.
#[derive(Debug, Clone)]
pub struct Hello {
    /// Which version is spoken.
    pub version: Version,
    /// The protocol name and level, which follow from the version unless a test lies about them.
    pub protocol: (Vec<u8>, u8),
    /// The client id, which a test may make other than UTF-8.
    pub client_id: Vec<u8>,
    /// User name and password.
    pub user: Option<(String, String)>,
    /// Clean session, or clean start.
    pub is_clean: bool,
    /// Seconds; 0 for none.
    pub keep_alive_secs: u16,
    /// Seconds that the session outlives the connection; only in version 5.
    pub expiry_secs: u32,
    /// The will.
    pub will: Option<Will>,
}

impl Hello {
    /// A clean session without a user.
    pub fn new(version: Version, client_id: &str) -> Self {
        let level = if version == Version::V5 { 5 } else { 4 };
        Self {
            version,
            protocol: (b"MQTT".to_vec(), level),
            client_id: client_id.as_bytes().to_vec(),
            user: None,
            is_clean: true,
            keep_alive_secs: 60,
            expiry_secs: 0,
            will: None,
        }
    }

    /// With a user name and its password.
    #[must_use]
    pub fn user(mut self, name: &str, secret: &str) -> Self {
        self.user = Some((name.to_owned(), secret.to_owned()));
        self
    }

    /// With a session that outlives the connection by an hour.
    #[must_use]
    pub fn persistent(mut self) -> Self {
        self.is_clean = false;
        self.expiry_secs = 3600;
        self
    }

    /// With a will.
    #[must_use]
    pub fn will(mut self, topic: &str, payload: &str) -> Self {
        self.will = Some(Will { topic: topic.to_owned(), payload: payload.as_bytes().to_vec() });
        self
    }

    /// The packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut flags = u8::from(self.is_clean) << 1;
        if self.will.is_some() {
            flags |= 0b0000_1100;
        }
        if self.user.is_some() {
            flags |= 0b1100_0000;
        }
        let mut body = Vec::new();
        binary(&mut body, &self.protocol.0);
        body.extend([self.protocol.1, flags]);
        body.extend(self.keep_alive_secs.to_be_bytes());
        if self.version == Version::V5 {
            body.extend([5, 0x11]);
            body.extend(self.expiry_secs.to_be_bytes());
        }
        binary(&mut body, &self.client_id);
        if let Some(will) = &self.will {
            self.no_properties(&mut body);
            binary(&mut body, will.topic.as_bytes());
            binary(&mut body, &will.payload);
        }
        if let Some((name, secret)) = &self.user {
            binary(&mut body, name.as_bytes());
            binary(&mut body, secret.as_bytes());
        }
        frame(0x10, &body)
    }

    fn no_properties(&self, body: &mut Vec<u8>) {
        if self.version == Version::V5 {
            body.push(0);
        }
    }
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
    /// 0 if the QoS is 0.
    pub packet_id: u16,
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
    /// SUBACK.
    SubAck {
        /// Of the SUBSCRIBE.
        packet_id: u16,
        /// One for each filter.
        codes: Vec<u8>,
    },
    /// PINGRESP.
    PingResp,
    /// DISCONNECT.
    Disconnect {
        /// Why.
        code: u8,
    },
}

/// A packet with its first byte, its length and its body.
pub fn frame(first_byte: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first_byte];
    let mut rest = body.len();
    loop {
        let digit = (rest % 128) as u8;
        rest /= 128;
        packet.push(if rest > 0 { digit | 0x80 } else { digit });
        if rest == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
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
    let mut body = Vec::new();
    binary(&mut body, topic);
    if flags & 0b0110 != 0 {
        body.extend(packet_id.to_be_bytes());
    }
    if version == Version::V5 {
        body.push(0);
    }
    body.extend_from_slice(payload);
    frame(0x30 | flags, &body)
}

/// SUBSCRIBE to one filter.
pub fn subscribe(version: Version, packet_id: u16, filter: &[u8], qos: u8) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    binary(&mut body, filter);
    body.push(qos);
    frame(0x82, &body)
}

/// PUBACK, success.
pub fn pub_ack(packet_id: u16) -> Vec<u8> {
    frame(0x40, &packet_id.to_be_bytes())
}

/// The packet at the front of what has been received, if it is whole.
pub fn decode(version: Version, received: &mut BytesMut) -> Option<Packet> {
    let first_byte = *received.first()?;
    let mut length = 0;
    for index in 0..4 {
        let byte = *received.get(1 + index)?;
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            let start = 2 + index;
            if received.len() < start + length {
                return None;
            }
            let mut body = received.split_to(start + length);
            body.advance(start);
            return Some(read(version, first_byte, body));
        }
    }
    panic!("the broker sent a length of more than four bytes")
}

fn read(version: Version, first_byte: u8, mut body: BytesMut) -> Packet {
    match first_byte >> 4 {
        2 => {
            let is_session_present = body.get_u8() == 1;
            Packet::ConnAck { is_session_present, code: body.get_u8() }
        }
        3 => Packet::Publish(read_publish(version, first_byte, body)),
        4 => {
            let packet_id = body.get_u16();
            Packet::PubAck { packet_id, code: body.first().copied().unwrap_or(0) }
        }
        9 => {
            let packet_id = body.get_u16();
            skip_properties(version, &mut body);
            Packet::SubAck { packet_id, codes: body.to_vec() }
        }
        13 => Packet::PingResp,
        14 => Packet::Disconnect { code: body.first().copied().unwrap_or(0) },
        other => panic!("the broker sent a packet of type {other}: {body:?}"),
    }
}

fn read_publish(version: Version, first_byte: u8, mut body: BytesMut) -> Message {
    let length = usize::from(body.get_u16());
    let topic = String::from_utf8(body.split_to(length).to_vec()).expect("a topic is UTF-8");
    let qos = first_byte >> 1 & 0b11;
    let packet_id = if qos > 0 { body.get_u16() } else { 0 };
    skip_properties(version, &mut body);
    let is_retained = first_byte & 1 == 1;
    Message { topic, payload: body.to_vec(), qos, is_retained, packet_id }
}

fn skip_properties(version: Version, body: &mut BytesMut) {
    if version == Version::V3 {
        return;
    }
    let mut length = 0;
    for index in 0..4 {
        let byte = body.get_u8();
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            break;
        }
    }
    body.advance(length);
}

#[cfg(test)]
mod tests {
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
