//! The stored form of a message: a compact binary body, the same for queues and retained messages.
//!
//! Layout: version, flags, topic, sender's client id and identity, expiry, properties if the flag says so, payload to
//! the end. Texts and lists have their length before them, and identities a byte for their kind. A retained message,
//! whose key is its topic, leaves that out. Bodies of version 1 have lengths of four bytes and identities in JSON; they
//! are read, and not written any more.

use crate::message::{Message, Properties, Sender};
use bytes::{Buf, Bytes};
use bytestring::ByteString;
use proto::{
    ClientId, EdgeId, Identity, Qos, Role, ThingId, TimestampMs, TopicName, UserId, varint,
};
use std::sync::Arc;

/// Version of the layout.
const VERSION: u8 = 2;
/// The one before.
const VERSION_LONG: u8 = 1;
const FLAG_RETAIN: u8 = 0b0000_0100;
const FLAG_PROPERTIES: u8 = 0b0000_1000;
const FLAG_EXPIRES: u8 = 0b0001_0000;
const FLAG_TOPIC: u8 = 0b0010_0000;

/// Kinds of identities; a user's is that of its role.
const PLATFORM: u8 = 0;
const THING: u8 = 1;
const EDGE: u8 = 2;
const USER: u8 = 3;

/// The roles of users by their number behind [`USER`]. New ones come at the end.
const ROLES: [Role; 8] = [
    Role::SystemAdmin,
    Role::TenantAdmin,
    Role::ProjectAdmin,
    Role::User,
    Role::App,
    Role::Device,
    Role::Edge,
    Role::Enrolment,
];

/// Why stored bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored message is damaged or of another version")]
pub(crate) struct Damaged;

/// The stored form.
pub(crate) fn encode(message: &Message) -> Bytes {
    let mut out = Vec::with_capacity(message.weight() + 32);
    put_message(message, true, &mut out);
    out.into()
}

/// Appends the stored form of a message whose topic is known where it is kept.
pub(crate) fn put_without_topic(message: &Message, out: &mut Vec<u8>) {
    put_message(message, false, out);
}

fn put_message(message: &Message, has_topic: bool, out: &mut Vec<u8>) {
    out.push(VERSION);
    let mut flags = u8::from(message.qos);
    flags |= if message.retain { FLAG_RETAIN } else { 0 };
    flags |= if message.properties.is_some() { FLAG_PROPERTIES } else { 0 };
    flags |= if message.expires_at.is_some() { FLAG_EXPIRES } else { 0 };
    flags |= if has_topic { FLAG_TOPIC } else { 0 };
    out.push(flags);
    if has_topic {
        varint::put_bytes(message.topic.as_str().as_bytes(), out);
    }
    varint::put_bytes(message.sender.client_id.as_str().as_bytes(), out);
    put_identity(&message.sender.identity, out);
    if let Some(expires_at) = message.expires_at {
        varint::put(expires_at.0, out);
    }
    if let Some(properties) = &message.properties {
        put_properties(properties, out);
    }
    out.extend_from_slice(&message.payload);
}

fn put_identity(identity: &Identity, out: &mut Vec<u8>) {
    match identity {
        Identity::Platform => return out.push(PLATFORM),
        Identity::Thing(_) => out.push(THING),
        Identity::Edge(_) => out.push(EDGE),
        Identity::User { role, .. } => {
            // Each role is in the list; there are far fewer than bytes.
            let number = ROLES.iter().position(|it| it == role).unwrap_or_default();
            out.push(USER + number as u8);
        }
    }
    varint::put_bytes(identity.name().as_bytes(), out);
}

/// The message of a stored body; `topic` is where it is kept, for one that does not say it.
pub(crate) fn decode(bytes: Bytes, topic: Option<&TopicName>) -> Result<Message, Damaged> {
    let mut input = Input { bytes, is_long: false };
    input.is_long = match input.byte()? {
        VERSION => false,
        VERSION_LONG => true,
        _ => return Err(Damaged),
    };
    let flags = input.byte()?;
    let topic = match input.is_long || flags & FLAG_TOPIC != 0 {
        true => TopicName::parse(input.text()?).map_err(|_| Damaged)?,
        false => topic.cloned().ok_or(Damaged)?,
    };
    let client_id = ClientId::parse(&input.text()?).map_err(|_| Damaged)?;
    let identity = input.identity()?;
    let expires_at = match flags & FLAG_EXPIRES {
        0 => None,
        _ => Some(TimestampMs(input.number()?)),
    };
    let properties = match flags & FLAG_PROPERTIES {
        0 => None,
        _ => Some(Box::new(input.properties()?)),
    };
    Ok(Message {
        topic,
        payload: input.bytes,
        qos: Qos::try_from(flags & 0b11).map_err(|_| Damaged)?,
        retain: flags & FLAG_RETAIN != 0,
        properties,
        sender: Arc::new(Sender { client_id, identity }),
        expires_at,
        gate: None,
    })
}

fn put_properties(it: &Properties, out: &mut Vec<u8>) {
    let mut present = u8::from(it.is_utf8_payload);
    present |= u8::from(it.content_type.is_some()) << 1;
    present |= u8::from(it.response_topic.is_some()) << 2;
    present |= u8::from(it.correlation_data.is_some()) << 3;
    out.push(present);
    if let Some(text) = &it.content_type {
        varint::put_bytes(text.as_bytes(), out);
    }
    if let Some(topic) = &it.response_topic {
        varint::put_bytes(topic.as_str().as_bytes(), out);
    }
    if let Some(data) = &it.correlation_data {
        varint::put_bytes(data, out);
    }
    varint::put(it.user_properties.len() as u64, out);
    for (name, value) in &it.user_properties {
        varint::put_bytes(name.as_bytes(), out);
        varint::put_bytes(value.as_bytes(), out);
    }
}

/// What is left of a body. Parts of it are not copied.
struct Input {
    bytes: Bytes,
    /// It is of the version before.
    is_long: bool,
}

impl Input {
    fn byte(&mut self) -> Result<u8, Damaged> {
        self.bytes.try_get_u8().map_err(|_| Damaged)
    }

    fn varint(&mut self) -> Result<u64, Damaged> {
        let mut rest = &*self.bytes;
        let number = varint::get(&mut rest).ok_or(Damaged)?;
        let taken = self.bytes.len() - rest.len();
        self.bytes.advance(taken);
        Ok(number)
    }

    fn number(&mut self) -> Result<u64, Damaged> {
        match self.is_long {
            true => self.bytes.try_get_u64().map_err(|_| Damaged),
            false => self.varint(),
        }
    }

    fn length(&mut self) -> Result<usize, Damaged> {
        match self.is_long {
            true => self.bytes.try_get_u32().map(|it| it as usize).map_err(|_| Damaged),
            false => self.varint().and_then(|it| usize::try_from(it).map_err(|_| Damaged)),
        }
    }

    fn take(&mut self) -> Result<Bytes, Damaged> {
        let length = self.length()?;
        if length > self.bytes.len() {
            return Err(Damaged);
        }
        Ok(self.bytes.split_to(length))
    }

    fn text(&mut self) -> Result<ByteString, Damaged> {
        ByteString::try_from(self.take()?).map_err(|_| Damaged)
    }

    fn identity(&mut self) -> Result<Identity, Damaged> {
        if self.is_long {
            return serde_json::from_slice(&self.take()?).map_err(|_| Damaged);
        }
        let kind = self.byte()?;
        Ok(match kind {
            PLATFORM => Identity::Platform,
            THING => Identity::Thing(ThingId::parse(&self.text()?).map_err(|_| Damaged)?),
            EDGE => Identity::Edge(EdgeId::parse(&self.text()?).map_err(|_| Damaged)?),
            USER.. => {
                let role = *ROLES.get(usize::from(kind - USER)).ok_or(Damaged)?;
                let name = UserId::parse(&self.text()?).map_err(|_| Damaged)?;
                Identity::User { name, role }
            }
        })
    }

    fn properties(&mut self) -> Result<Properties, Damaged> {
        let present = self.byte()?;
        let mut it = Properties { is_utf8_payload: present & 1 != 0, ..Properties::default() };
        if present & 2 != 0 {
            it.content_type = Some(self.text()?);
        }
        if present & 4 != 0 {
            let topic = TopicName::parse(self.text()?).map_err(|_| Damaged)?;
            it.response_topic = Some(topic);
        }
        if present & 8 != 0 {
            it.correlation_data = Some(self.take()?);
        }
        for _ in 0..self.length()? {
            let name = self.text()?;
            it.user_properties.push((name, self.text()?));
        }
        Ok(it)
    }
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

    /// The message below, as version 1 had it.
    const LONG: &str = "011d000000127468696e67732f702f74656c656d6574727900000001630000000d7b227468696e67223a2270227d\
                        000000000000004d0f0000000a746578742f706c61696e0000000172000000016300000001000000016100000001\
                        6232312e35";

    fn with_everything() -> Message {
        let properties = Properties {
            is_utf8_payload: true,
            content_type: Some("text/plain".into()),
            response_topic: Some(TopicName::parse("r").unwrap()),
            correlation_data: Some(Bytes::from_static(b"c")),
            user_properties: vec![("a".into(), "b".into())],
        };
        message(b"21.5".to_vec(), Some(properties))
    }

    fn assert_same(after: &Message, before: &Message) {
        assert_eq!((&after.topic, &after.payload), (&before.topic, &before.payload));
        assert_eq!((after.qos, after.retain), (before.qos, before.retain));
        assert_eq!(after.properties, before.properties);
        assert_eq!(after.sender, before.sender);
        assert_eq!(after.expires_at, before.expires_at);
    }

    #[test]
    fn a_message_round_trips_with_everything() {
        let before = with_everything();
        assert_same(&decode(encode(&before), None).unwrap(), &before);
        let mut kept = Vec::new();
        put_without_topic(&before, &mut kept);
        let kept = Bytes::from(kept);
        assert_same(&decode(kept.clone(), Some(&before.topic)).unwrap(), &before);
        assert!(decode(kept, None).is_err(), "nobody knows the topic");
    }

    #[test]
    fn what_an_earlier_release_has_kept_is_read() {
        let byte = |at: usize| u8::from_str_radix(&LONG[at..at + 2], 16).unwrap();
        let long: Vec<u8> = (0..LONG.len()).step_by(2).map(byte).collect();
        let before = with_everything();
        assert_same(&decode(long.into(), Some(&before.topic)).unwrap(), &before);
    }

    #[test]
    fn every_identity_round_trips() {
        let users = ROLES.map(|role| Identity::User { name: UserId::parse("u").unwrap(), role });
        let others = [Identity::Platform, Identity::Edge(EdgeId::parse("e").unwrap())];
        for identity in users.into_iter().chain(others) {
            let sender = Sender { client_id: ClientId::parse("c").unwrap(), identity };
            let before = Message { sender: Arc::new(sender), ..message(b"x".to_vec(), None) };
            assert_same(&decode(encode(&before), None).unwrap(), &before);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_the_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0usize..100) {
            for version in [VERSION, VERSION_LONG] {
                let _ = decode([&[version], &bytes[..]].concat().into(), None);
            }
            let whole = encode(&message(b"x".to_vec(), Some(Properties::default())));
            let _ = decode(whole.slice(..cut.min(whole.len())), None);
        }
    }
}
