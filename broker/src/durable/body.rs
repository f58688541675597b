//! The stored form of a message: a compact binary body, the same for queues and retained messages.
//!
//! Layout, integers big endian, texts with a length of four bytes: version, flags, topic, sender's client id and
//! identity (JSON), expiry, properties if the flag says so, payload to the end.

use crate::message::{Message, Properties, Sender};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use proto::{ClientId, Qos, TimestampMs, TopicName};
use std::sync::Arc;

/// Version of the layout.
const VERSION: u8 = 1;
const FLAG_RETAIN: u8 = 0b0000_0100;
const FLAG_PROPERTIES: u8 = 0b0000_1000;
const FLAG_EXPIRES: u8 = 0b0001_0000;

/// Why stored bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored message is damaged or of another version")]
pub(crate) struct Damaged;

/// The stored form.
pub(crate) fn encode(message: &Message) -> Bytes {
    let mut out = BytesMut::with_capacity(message.weight() + 64);
    out.put_u8(VERSION);
    let mut flags = u8::from(message.qos);
    flags |= if message.retain { FLAG_RETAIN } else { 0 };
    flags |= if message.properties.is_some() { FLAG_PROPERTIES } else { 0 };
    flags |= if message.expires_at.is_some() { FLAG_EXPIRES } else { 0 };
    out.put_u8(flags);
    put(&mut out, message.topic.as_str().as_bytes());
    put(&mut out, message.sender.client_id.as_str().as_bytes());
    // Names and an enum: serialisation has no way to fail.
    put(&mut out, &serde_json::to_vec(&message.sender.identity).unwrap_or_default());
    if let Some(expires_at) = message.expires_at {
        out.put_u64(expires_at.0);
    }
    if let Some(properties) = &message.properties {
        put_properties(&mut out, properties);
    }
    out.put_slice(&message.payload);
    out.freeze()
}

/// The message of a stored body.
pub(crate) fn decode(mut bytes: Bytes) -> Result<Message, Damaged> {
    if take_u8(&mut bytes)? != VERSION {
        return Err(Damaged);
    }
    let flags = take_u8(&mut bytes)?;
    let topic = TopicName::parse(take_text(&mut bytes)?).map_err(|_| Damaged)?;
    let client_id = ClientId::parse(&take_text(&mut bytes)?).map_err(|_| Damaged)?;
    let identity = serde_json::from_slice(&take(&mut bytes)?).map_err(|_| Damaged)?;
    let expires_at = match flags & FLAG_EXPIRES {
        0 => None,
        _ => Some(TimestampMs(bytes.try_get_u64().map_err(|_| Damaged)?)),
    };
    let properties = match flags & FLAG_PROPERTIES {
        0 => None,
        _ => Some(Box::new(take_properties(&mut bytes)?)),
    };
    Ok(Message {
        topic,
        payload: bytes,
        qos: Qos::try_from(flags & 0b11).map_err(|_| Damaged)?,
        retain: flags & FLAG_RETAIN != 0,
        properties,
        sender: Arc::new(Sender { client_id, identity }),
        expires_at,
        gate: None,
    })
}

fn put(out: &mut BytesMut, bytes: &[u8]) {
    // No packet is longer than 256 MiB (MQTT 5.0 1.5.5), so no part of one is.
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

fn put_properties(out: &mut BytesMut, it: &Properties) {
    let mut present = u8::from(it.is_utf8_payload);
    present |= u8::from(it.content_type.is_some()) << 1;
    present |= u8::from(it.response_topic.is_some()) << 2;
    present |= u8::from(it.correlation_data.is_some()) << 3;
    out.put_u8(present);
    if let Some(text) = &it.content_type {
        put(out, text.as_bytes());
    }
    if let Some(topic) = &it.response_topic {
        put(out, topic.as_str().as_bytes());
    }
    if let Some(data) = &it.correlation_data {
        put(out, data);
    }
    out.put_u32(u32::try_from(it.user_properties.len()).unwrap_or(u32::MAX));
    for (name, value) in &it.user_properties {
        put(out, name.as_bytes());
        put(out, value.as_bytes());
    }
}

fn take_u8(bytes: &mut Bytes) -> Result<u8, Damaged> {
    bytes.try_get_u8().map_err(|_| Damaged)
}

fn take(bytes: &mut Bytes) -> Result<Bytes, Damaged> {
    let length = bytes.try_get_u32().map_err(|_| Damaged)? as usize;
    if length > bytes.len() {
        return Err(Damaged);
    }
    Ok(bytes.split_to(length))
}

fn take_text(bytes: &mut Bytes) -> Result<ByteString, Damaged> {
    ByteString::try_from(take(bytes)?).map_err(|_| Damaged)
}

fn take_properties(bytes: &mut Bytes) -> Result<Properties, Damaged> {
    let present = take_u8(bytes)?;
    let mut it = Properties { is_utf8_payload: present & 1 != 0, ..Properties::default() };
    if present & 2 != 0 {
        it.content_type = Some(take_text(bytes)?);
    }
    if present & 4 != 0 {
        let topic = TopicName::parse(take_text(bytes)?).map_err(|_| Damaged)?;
        it.response_topic = Some(topic);
    }
    if present & 8 != 0 {
        it.correlation_data = Some(take(bytes)?);
    }
    for _ in 0..bytes.try_get_u32().map_err(|_| Damaged)? {
        let name = take_text(bytes)?;
        it.user_properties.push((name, take_text(bytes)?));
    }
    Ok(it)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proto::{Identity, ThingId};

    fn message(payload: Vec<u8>, properties: Option<Properties>) -> Message {
        Message {
            topic: TopicName::parse("things/p/telemetry").unwrap(),
            payload: payload.into(),
            qos: Qos::AtLeastOnce,
            retain: true,
            properties: properties.map(Box::new),
            sender: Arc::new(Sender {
                client_id: ClientId::parse("c").unwrap(),
                identity: Identity::Thing(ThingId::parse("p").unwrap()),
            }),
            expires_at: Some(TimestampMs(77)),
            gate: None,
        }
    }

    #[test]
    fn a_message_round_trips_with_everything() {
        let properties = Properties {
            is_utf8_payload: true,
            content_type: Some("text/plain".into()),
            response_topic: Some(TopicName::parse("r").unwrap()),
            correlation_data: Some(Bytes::from_static(b"c")),
            user_properties: vec![("a".into(), "b".into())],
        };
        let before = message(b"21.5".to_vec(), Some(properties));
        let after = decode(encode(&before)).unwrap();
        assert_eq!((&after.topic, &after.payload), (&before.topic, &before.payload));
        assert_eq!((after.qos, after.retain), (before.qos, before.retain));
        assert_eq!(after.properties, before.properties);
        assert_eq!(after.sender, before.sender);
        assert_eq!(after.expires_at, before.expires_at);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_the_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0usize..100) {
            let _ = decode(Bytes::from(bytes));
            let whole = encode(&message(b"x".to_vec(), Some(Properties::default())));
            let _ = decode(whole.slice(..cut.min(whole.len())));
        }
    }
}
