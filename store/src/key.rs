//! Keys: how the key of a row becomes bytes whose order is the order of its parts.
//!
//! A key is one or several parts. Numbers are big endian; a text ends with 0x00. Each part says by
//! itself where it ends, so the encoding of the leading parts is a prefix of every key that starts
//! with them, and of no other: `prefix(&namespace)` scans exactly one namespace.

use proto::id::Kind;
use proto::{ClientId, Namespace, ProjectId, TenantId, TopicFilter, TopicName, id::Id};

/// What the rows of one table are found by.
pub trait RowKey: Sized {
    /// Appends the key to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads a whole key back; `None` when the bytes are not one.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

/// One part of a key, which says by itself where it ends.
pub trait KeyPart: Sized {
    /// Appends the part to `out`.
    fn encode_part(&self, out: &mut Vec<u8>);

    /// Takes the part off the front of `bytes`.
    fn decode_part(bytes: &mut &[u8]) -> Option<Self>;
}

/// The bytes that every key starts with whose leading parts are `leading`.
pub fn prefix<K: RowKey>(leading: &K) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    leading.encode(&mut out);
    out
}

/// The first key after all keys that start with `prefix`; `None` when there can be none.
pub(crate) fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xFF)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// Appends a text and its end. The bytes 0x00 and 0x01, which ids never hold, are escaped with
/// 0x01, so that any text is a part and the order stays that of the texts.
fn encode_text(text: &str, out: &mut Vec<u8>) {
    for &byte in text.as_bytes() {
        match byte {
            0x00 | 0x01 => out.extend([0x01, byte + 1]),
            _ => out.push(byte),
        }
    }
    out.push(0x00);
}

fn decode_text(bytes: &mut &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == 0x00)?;
    let (body, rest) = (&bytes[..end], &bytes[end + 1..]);
    let mut text = Vec::with_capacity(body.len());
    let mut body = body.iter();
    while let Some(&byte) = body.next() {
        match byte {
            0x01 => match body.next()? {
                &escaped @ (0x01 | 0x02) => text.push(escaped - 1),
                _ => return None,
            },
            _ => text.push(byte),
        }
    }
    *bytes = rest;
    String::from_utf8(text).ok()
}

impl KeyPart for u64 {
    fn encode_part(&self, out: &mut Vec<u8>) {
        out.extend(self.to_be_bytes());
    }
    fn decode_part(bytes: &mut &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<8>()?;
        *bytes = rest;
        Some(Self::from_be_bytes(*head))
    }
}

impl KeyPart for String {
    fn encode_part(&self, out: &mut Vec<u8>) {
        encode_text(self, out);
    }
    fn decode_part(bytes: &mut &[u8]) -> Option<Self> {
        decode_text(bytes)
    }
}

impl<K: Kind> KeyPart for Id<K> {
    fn encode_part(&self, out: &mut Vec<u8>) {
        encode_text(self.as_str(), out);
    }
    fn decode_part(bytes: &mut &[u8]) -> Option<Self> {
        Self::parse(&decode_text(bytes)?).ok()
    }
}

impl KeyPart for ClientId {
    fn encode_part(&self, out: &mut Vec<u8>) {
        encode_text(self.as_str(), out);
    }
    fn decode_part(bytes: &mut &[u8]) -> Option<Self> {
        Self::parse(&decode_text(bytes)?).ok()
    }
}

impl KeyPart for TopicName {
    fn encode_part(&self, out: &mut Vec<u8>) {
        encode_text(self.as_str(), out);
    }
    fn decode_part(bytes: &mut &[u8]) -> Option<Self> {
        Self::parse(decode_text(bytes)?).ok()
    }
}

impl KeyPart for TopicFilter {
    fn encode_part(&self, out: &mut Vec<u8>) {
        encode_text(self.as_str(), out);
    }
    fn decode_part(bytes: &mut &[u8]) -> Option<Self> {
        Self::parse(decode_text(bytes)?).ok()
    }
}

impl KeyPart for Namespace {
    fn encode_part(&self, out: &mut Vec<u8>) {
        encode_text(self.tenant.as_str(), out);
        encode_text(self.project.as_str(), out);
    }
    fn decode_part(bytes: &mut &[u8]) -> Option<Self> {
        let tenant = TenantId::decode_part(bytes)?;
        let project = ProjectId::decode_part(bytes)?;
        Some(Self { tenant, project })
    }
}

impl<A: KeyPart> RowKey for A {
    fn encode(&self, out: &mut Vec<u8>) {
        self.encode_part(out);
    }
    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let key = A::decode_part(&mut bytes)?;
        bytes.is_empty().then_some(key)
    }
}

impl<A: KeyPart, B: KeyPart> RowKey for (A, B) {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode_part(out);
        self.1.encode_part(out);
    }
    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let key = (A::decode_part(&mut bytes)?, B::decode_part(&mut bytes)?);
        bytes.is_empty().then_some(key)
    }
}

impl<A: KeyPart, B: KeyPart, C: KeyPart> RowKey for (A, B, C) {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode_part(out);
        self.1.encode_part(out);
        self.2.encode_part(out);
    }
    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let key = (A::decode_part(bytes)?, B::decode_part(bytes)?, C::decode_part(bytes)?);
        bytes.is_empty().then_some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proto::ThingId;

    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[a-c]{0,3}", "[\\x00-\\x03a\u{7f}\u{80}\u{ffff}]{0,4}"]
    }

    proptest! {
        #[test]
        fn keys_come_back_and_keep_their_order(
            a in (text(), any::<u64>(), text()),
            b in (text(), any::<u64>(), text()),
        ) {
            let (bytes_a, bytes_b) = (prefix(&a), prefix(&b));
            prop_assert_eq!(bytes_a.cmp(&bytes_b), a.cmp(&b));
            prop_assert_eq!(<(String, u64, String)>::decode(&bytes_a), Some(a.clone()));
            prop_assert_eq!(bytes_b.starts_with(&prefix(&a.0)), a.0 == b.0);
            let two_parts = (a.0, a.1);
            let is_inside = bytes_b.starts_with(&prefix(&two_parts));
            prop_assert_eq!(is_inside, two_parts == (b.0, b.1));
        }

        #[test]
        fn a_prefix_ends_after_its_last_key(
            prefix in proptest::collection::vec(prop_oneof![Just(0xFF), any::<u8>()], 0..4),
            key in proptest::collection::vec(prop_oneof![Just(0xFF), any::<u8>()], 0..6),
        ) {
            let is_inside = match prefix_end(&prefix) {
                Some(end) => key >= prefix && key < end,
                None => key >= prefix,
            };
            prop_assert_eq!(is_inside, key.starts_with(&prefix));
        }

        #[test]
        fn no_bytes_break_the_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _either = <(Namespace, ThingId)>::decode(&bytes);
            if let Some(key) = <(String, u64)>::decode(&bytes) {
                prop_assert_eq!(prefix(&key), bytes);
            }
        }
    }

    #[test]
    fn a_namespace_scans_itself_alone() {
        let namespace = |text| Namespace::parse(text).unwrap();
        let thing = |text| ThingId::parse(text).unwrap();
        let key = prefix(&(namespace("acme/plant"), thing("pump7")));
        assert_eq!(key, b"acme\0plant\0pump7\0");
        assert!(key.starts_with(&prefix(&namespace("acme/plant"))));
        assert!(!key.starts_with(&prefix(&namespace("acme/plan"))));
    }
}
