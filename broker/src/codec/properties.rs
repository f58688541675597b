//! The properties of a PUBLISH from a client (MQTT 5.0 3.3.2.3).

use crate::message::Properties;
use crate::packet::Publish;
use crate::reason::Reason;
use bytes::Bytes;
use bytestring::ByteString;
use std::num::NonZeroU16;

const PAYLOAD_FORMAT_INDICATOR: u8 = 0x01;
const MESSAGE_EXPIRY_INTERVAL: u8 = 0x02;
const CONTENT_TYPE: u8 = 0x03;
const RESPONSE_TOPIC: u8 = 0x08;
const CORRELATION_DATA: u8 = 0x09;
const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
const TOPIC_ALIAS: u8 = 0x23;
const USER_PROPERTY: u8 = 0x26;

/// Reads `bytes`, the properties without their length, into `publish`. Nothing of the buffer is kept.
pub(super) fn read(bytes: &[u8], publish: &mut Publish) -> Result<(), Reason> {
    let mut rest = Rest(bytes);
    let mut seen = 0u64;
    let mut found = Properties::default();
    while let Some(id) = rest.next_id() {
        if id != USER_PROPERTY {
            // Each but this one may be there once (2.2.2.2).
            let bit = 1u64.checked_shl(id.into()).unwrap_or(0);
            if seen & bit != 0 {
                return Err(Reason::ProtocolError);
            }
            seen |= bit;
        }
        match id {
            PAYLOAD_FORMAT_INDICATOR => found.is_utf8_payload = rest.flag()?,
            MESSAGE_EXPIRY_INTERVAL => {
                publish.expiry_secs = Some(u32::from_be_bytes(rest.array()?));
            }
            CONTENT_TYPE => found.content_type = Some(rest.text()?),
            RESPONSE_TOPIC => publish.response_topic = Some(rest.text()?),
            CORRELATION_DATA => {
                found.correlation_data = Some(Bytes::copy_from_slice(rest.binary()?));
            }
            // Only a server sends them (3.3.4-6).
            SUBSCRIPTION_IDENTIFIER => return Err(Reason::ProtocolError),
            TOPIC_ALIAS => {
                let alias = NonZeroU16::new(u16::from_be_bytes(rest.array()?));
                publish.topic_alias = Some(alias.ok_or(Reason::TopicAliasInvalid)?);
            }
            USER_PROPERTY => found.user_properties.push((rest.text()?, rest.text()?)),
            _ => return Err(Reason::MalformedPacket),
        }
    }
    publish.properties = found.boxed();
    Ok(())
}

/// What has not been read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// No identifier in use is longer than one byte (2.2.2.2).
    fn next_id(&mut self) -> Option<u8> {
        let (&id, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(id)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        let (&bytes, rest) = self.0.split_first_chunk().ok_or(Reason::MalformedPacket)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn flag(&mut self) -> Result<bool, Reason> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Reason::ProtocolError),
        }
    }

    fn binary(&mut self) -> Result<&'a [u8], Reason> {
        let length = u16::from_be_bytes(self.array()?);
        let split = self.0.split_at_checked(length.into());
        let (bytes, rest) = split.ok_or(Reason::MalformedPacket)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<ByteString, Reason> {
        let text = std::str::from_utf8(self.binary()?).map_err(|_| Reason::MalformedPacket)?;
        // The null character is in no text (1.5.4-2).
        if text.contains('\0') {
            return Err(Reason::MalformedPacket);
        }
        Ok(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(bytes: &[u8]) -> Reason {
        read(bytes, &mut Publish::default()).unwrap_err()
    }

    #[test]
    fn what_breaks_a_rule_is_told_by_its_code() {
        assert_eq!(refused(b"\x23\x00\x00"), Reason::TopicAliasInvalid);
        assert_eq!(refused(b"\x23\x00\x01\x23\x00\x01"), Reason::ProtocolError, "twice");
        assert_eq!(refused(b"\x0B\x01"), Reason::ProtocolError, "only servers");
        assert_eq!(refused(b"\x01\x02"), Reason::ProtocolError, "neither 0 nor 1");
        assert_eq!(refused(b"\x11\x00\x00\x00\x01"), Reason::MalformedPacket, "of CONNECT");
        assert_eq!(refused(b"\xFF"), Reason::MalformedPacket, "of nothing");
        assert_eq!(refused(b"\x02\x00\x00\x01"), Reason::MalformedPacket, "cut short");
        assert_eq!(refused(b"\x03\x00\x02a\x00"), Reason::MalformedPacket, "a null character");
        assert_eq!(refused(b"\x08\x00\x01\xFF"), Reason::MalformedPacket, "not UTF-8");
    }

    #[test]
    fn user_properties_keep_their_order_and_an_expiry_may_be_0() {
        let mut publish = Publish::default();
        let bytes = b"\x26\x00\x01b\x00\x011\x02\x00\x00\x00\x00\x26\x00\x01a\x00\x012";
        read(bytes, &mut publish).unwrap();
        assert_eq!(publish.expiry_secs, Some(0));
        let expected = vec![("b".into(), "1".into()), ("a".into(), "2".into())];
        assert_eq!(publish.properties.unwrap().user_properties, expected);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = read(&bytes, &mut Publish::default());
        }
    }
}
