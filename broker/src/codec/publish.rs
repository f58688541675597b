//! PUBLISH, read from a receive buffer and written to a send buffer without a detour (MQTT 5.0 3.3).
//!
//! Reading borrows from the buffer. Properties are rare: they are read only by [`Incoming::to_publish`].

use super::properties;
use crate::message::Message;
use crate::packet::{Publish, Version};
use crate::reason::Reason;
use crate::session::aliases::{Alias, Outbound};
use bytes::{BufMut, Bytes, BytesMut};
use proto::{Qos, TimestampMs};
use std::num::{NonZeroU16, NonZeroU32};

/// A PUBLISH as it lies in the receive buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Incoming<'a> {
    pub(crate) topic: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) packet_id: Option<NonZeroU16>,
    /// Its MQTT 5.0 properties, not yet looked at.
    pub(crate) properties: &'a [u8],
}

impl Incoming<'_> {
    /// A copy of it, with its properties.
    pub(crate) fn to_publish(&self) -> Result<Publish, Reason> {
        let topic = std::str::from_utf8(self.topic).map_err(|_| Reason::MalformedPacket)?;
        let mut publish = Publish {
            topic: topic.into(),
            payload: Bytes::copy_from_slice(self.payload),
            qos: self.qos,
            retain: self.retain,
            packet_id: self.packet_id,
            ..Publish::default()
        };
        properties::read(self.properties, &mut publish)?;
        Ok(publish)
    }
}

/// Reads the PUBLISH packet that is the whole of `packet`.
pub(crate) fn read(
    version: Version,
    packet: &[u8],
    body_start: usize,
) -> Result<Incoming<'_>, Reason> {
    let flags = packet[0];
    let qos = match flags >> 1 & 0b11 {
        0 if flags & 0b1000 == 0 => Qos::AtMostOnce,
        1 => Qos::AtLeastOnce,
        2 => Qos::ExactlyOnce,
        _ => return Err(Reason::MalformedPacket),
    };
    let (topic, rest) = take_text(&packet[body_start..])?;
    let (packet_id, rest) = match qos {
        Qos::AtMostOnce => (None, rest),
        _ => {
            let (&id, rest) = rest.split_first_chunk().ok_or(Reason::MalformedPacket)?;
            let id = NonZeroU16::new(u16::from_be_bytes(id)).ok_or(Reason::ProtocolError)?;
            (Some(id), rest)
        }
    };
    let (properties, payload) = match version {
        Version::V3 => (&[][..], rest),
        Version::V5 => {
            let (length, rest) = take_var_int(rest)?;
            rest.split_at_checked(length).ok_or(Reason::MalformedPacket)?
        }
    };
    if topic.is_empty() && properties.is_empty() {
        // Only a topic alias may stand for it (3.3.2.1-1).
        return Err(Reason::ProtocolError);
    }
    Ok(Incoming { topic, payload, qos, retain: flags & 1 != 0, packet_id, properties })
}

fn take_var_int(bytes: &[u8]) -> Result<(usize, &[u8]), Reason> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((value, &bytes[index + 1..]));
        }
    }
    Err(Reason::MalformedPacket)
}

fn take_text(bytes: &[u8]) -> Result<(&[u8], &[u8]), Reason> {
    let (&length, rest) = bytes.split_first_chunk().ok_or(Reason::MalformedPacket)?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(length))).ok_or(Reason::MalformedPacket)
}

/// How one subscriber gets a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    /// Present for QoS 1 and 2.
    pub(crate) packet_id: Option<NonZeroU16>,
    pub(crate) subscription_ids: &'a [NonZeroU32],
    pub(crate) now: TimestampMs,
}

/// Writes the PUBLISH packets of one connection.
#[derive(Debug)]
pub(crate) struct Writer {
    version: Version,
    /// Longest packet the client takes.
    bytes_max: usize,
    aliases: Outbound,
}

impl Writer {
    /// For a client of this version, with these limits.
    pub(crate) fn new(version: Version, bytes_max: usize, aliases_max: u16) -> Self {
        Self { version, bytes_max, aliases: Outbound::new(aliases_max) }
    }

    /// Writes the packet at the end of `out`; `false`, with nothing written, if it is longer than the client takes.
    pub(crate) fn write(
        &mut self,
        message: &Message,
        how: Outgoing<'_>,
        out: &mut BytesMut,
    ) -> bool {
        let alias = self.aliases.alias(&message.topic);
        if !write(self.version, message, how, alias, self.bytes_max, out) {
            return false;
        }
        if let Some(alias) = alias.filter(|alias| alias.is_new) {
            self.aliases.set(&message.topic, alias);
        }
        true
    }
}

fn write(
    version: Version,
    message: &Message,
    how: Outgoing<'_>,
    alias: Option<Alias>,
    bytes_max: usize,
    out: &mut BytesMut,
) -> bool {
    let topic = match alias {
        Some(Alias { is_new: false, .. }) => &[],
        _ => message.topic.as_str().as_bytes(),
    };
    let properties = match version {
        Version::V3 => None,
        Version::V5 => Some(property_bytes(message, &how, alias)),
    };
    let properties_bytes = properties.as_ref().map_or(0, |it| it.len() + var_int_bytes(it.len()));
    let id_bytes = if how.packet_id.is_some() { 2 } else { 0 };
    let body_bytes = 2 + topic.len() + id_bytes + properties_bytes + message.payload.len();
    let bytes = 1 + var_int_bytes(body_bytes) + body_bytes;
    if bytes > bytes_max {
        return false;
    }
    out.reserve(bytes);
    let flags = u8::from(how.dup) << 3 | u8::from(how.qos) << 1 | u8::from(how.retain);
    out.put_u8(0x30 | flags);
    put_var_int(out, body_bytes);
    put_text(out, topic);
    if let Some(id) = how.packet_id {
        out.put_u16(id.get());
    }
    if let Some(properties) = properties {
        put_var_int(out, properties.len());
        out.put_slice(&properties);
    }
    out.put_slice(&message.payload);
    true
}

/// The property bytes; no allocation if there are none.
fn property_bytes(message: &Message, how: &Outgoing<'_>, alias: Option<Alias>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(alias) = alias {
        out.put_u8(0x23);
        out.put_u16(alias.number.get());
    }
    if let Some(left) = message.expiry_left_secs(how.now) {
        out.put_u8(0x02);
        out.put_u32(left);
    }
    for id in how.subscription_ids {
        out.put_u8(0x0B);
        put_var_int(&mut out, id.get() as usize);
    }
    let Some(properties) = &message.properties else { return out };
    if properties.is_utf8_payload {
        out.put_slice(&[0x01, 1]);
    }
    if let Some(it) = &properties.content_type {
        out.put_u8(0x03);
        put_text(&mut out, it.as_bytes());
    }
    if let Some(it) = &properties.response_topic {
        out.put_u8(0x08);
        put_text(&mut out, it.as_str().as_bytes());
    }
    if let Some(it) = &properties.correlation_data {
        out.put_u8(0x09);
        put_text(&mut out, it);
    }
    for (name, value) in &properties.user_properties {
        out.put_u8(0x26);
        put_text(&mut out, name.as_bytes());
        put_text(&mut out, value.as_bytes());
    }
    out
}

/// Texts and binary data come from packets or topics, so they fit their length field (MQTT 5.0 1.5.4).
pub(super) fn put_text(out: &mut impl BufMut, bytes: &[u8]) {
    out.put_u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX));
    out.put_slice(&bytes[..bytes.len().min(usize::from(u16::MAX))]);
}

pub(super) fn var_int_bytes(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

pub(super) fn put_var_int(out: &mut impl BufMut, mut value: usize) {
    loop {
        let low = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 {
            out.put_u8(low);
            return;
        }
        out.put_u8(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Frame, frame};
    use crate::message::{Properties, Sender};
    use crate::packet::Packet;
    use proptest::prelude::*;
    use proto::{ClientId, Identity, TopicName};
    use std::sync::Arc;

    fn message(topic: &str, payload: Vec<u8>, properties: Option<Properties>) -> Message {
        Message {
            topic: TopicName::parse(topic.to_owned()).unwrap(),
            payload: Bytes::from(payload),
            qos: Qos::AtLeastOnce,
            retain: false,
            properties: properties.map(Box::new),
            sender: Arc::new(Sender {
                client_id: ClientId::parse("c").unwrap(),
                identity: Identity::Platform,
            }),
            expires_at: None,
            gate: None,
        }
    }

    fn how(qos: Qos) -> Outgoing<'static> {
        let packet_id = (qos != Qos::AtMostOnce).then(|| NonZeroU16::new(7).unwrap());
        let now = TimestampMs(0);
        Outgoing { qos, retain: true, dup: false, packet_id, subscription_ids: &[], now }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            topic in "[a-z/é]{1,200}", payload in proptest::collection::vec(any::<u8>(), 0..20_000),
            v5 in any::<bool>(), qos1 in any::<bool>(),
        ) {
            let version = if v5 { Version::V5 } else { Version::V3 };
            let qos = if qos1 { Qos::AtLeastOnce } else { Qos::AtMostOnce };
            let message = message(&topic, payload, None);
            let mut out = BytesMut::new();
            prop_assert!(write(version, &message, how(qos), None, usize::MAX, &mut out));
            let Ok(Frame::Whole { body_start, bytes, .. }) = frame(&out, usize::MAX) else {
                panic!("not a frame")
            };
            prop_assert_eq!(bytes, out.len());
            let read = read(version, &out, body_start).unwrap();
            prop_assert_eq!(read.topic, topic.as_bytes());
            prop_assert_eq!(read.payload, &message.payload[..]);
            prop_assert_eq!((read.qos, read.retain), (qos, true));
            prop_assert_eq!(read.packet_id, how(qos).packet_id);
        }
    }

    #[test]
    fn properties_are_written_as_the_codec_reads_them() {
        let properties = Properties {
            is_utf8_payload: true,
            content_type: Some("application/json".into()),
            response_topic: Some(TopicName::parse("a/reply").unwrap()),
            correlation_data: Some(Bytes::from_static(b"\x00\x01")),
            user_properties: vec![("k".into(), "v".into()), ("k".into(), "w".into())],
        };
        let mut message = message("t", b"x".to_vec(), Some(properties.clone()));
        message.expires_at = Some(TimestampMs(5_500));
        let mut out = BytesMut::new();
        let ids = [NonZeroU32::new(300).unwrap()];
        let how = Outgoing { subscription_ids: &ids, ..how(Qos::AtLeastOnce) };
        assert!(write(Version::V5, &message, how, None, usize::MAX, &mut out));
        let Packet::Publish(read) = crate::codec::decode(Version::V5, &out).unwrap() else {
            panic!("not a PUBLISH")
        };
        assert_eq!(read.payload, "x");
        assert_eq!(read.expiry_secs, Some(6));
        assert!(read.has_subscription_id);
        assert_eq!(read.response_topic.as_deref(), Some("a/reply"));
        let expected = Properties { response_topic: None, ..properties };
        assert_eq!(read.properties.as_deref(), Some(&expected));
    }

    #[test]
    fn a_packet_over_the_limit_is_not_written() {
        let mut out = BytesMut::new();
        let message = message("t", vec![0; 100], None);
        assert!(!write(Version::V3, &message, how(Qos::AtMostOnce), None, 100, &mut out));
        assert!(out.is_empty());
    }

    #[test]
    fn a_topic_is_said_once_and_its_alias_from_then_on() {
        let mut writer = Writer::new(Version::V5, usize::MAX, 1);
        let mut said = |topic: &str| {
            let mut out = BytesMut::new();
            let message = message(topic, b"x".to_vec(), None);
            assert!(writer.write(&message, how(Qos::AtMostOnce), &mut out));
            match crate::codec::decode(Version::V5, &out).unwrap() {
                Packet::Publish(read) => (read.topic.to_string(), read.topic_alias),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(said("line/1"), ("line/1".to_owned(), NonZeroU16::new(1)));
        assert_eq!(said("line/1"), (String::new(), NonZeroU16::new(1)));
        assert_eq!(said("line/2"), ("line/2".to_owned(), None));
    }
}
