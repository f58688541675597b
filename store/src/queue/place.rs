//! A place in a queue: what the store keeps of a message beside its body, and where the body is.
//!
//! At a checkpoint the places go into a table of their own, framed like every row. The payload:
//! `[flags u8][shape u8][expires u64?][segment u64][offset u32][bytes u32][checksum u32][share u32]`.
//! Numbers are little endian; the key is big endian, so that a session's places lie in order.

use super::SessionKey;
use crate::row::{RowError, frame, unframe};
use redb::TableDefinition;

/// `session, seq` to a place.
pub(crate) const QUEUE: TableDefinition<'static, &'static [u8; 16], &'static [u8]> =
    TableDefinition::new(QUEUE_NAME);

pub(crate) const QUEUE_NAME: &str = "queue_places";

const VERSION: u8 = 2;
const SHAPE_EXPIRES: u8 = 1;

/// Whose queue, and the sequence number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PlaceKey(pub(crate) SessionKey, pub(crate) u64);

/// What is kept of one message in one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) flags: u8,
    pub(crate) expires_at_ms: Option<u64>,
    pub(crate) body: Location,
    /// The part of the body's bytes that this place answers for when the space of a segment is
    /// counted: its length divided by the places that it came for.
    pub(crate) share: u32,
}

/// Where a body is, and what it must look like there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Location {
    pub(crate) segment: u64,
    pub(crate) offset: u32,
    pub(crate) bytes: u32,
    pub(crate) checksum: u32,
}

impl PlaceKey {
    /// None is before it.
    pub(crate) const FIRST: Self = Self(SessionKey(0), 0);
    /// None is after it.
    pub(crate) const LAST: Self = Self(SessionKey(u64::MAX), u64::MAX);

    pub(crate) fn encode(self) -> [u8; 16] {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&self.0.0.to_be_bytes());
        key[8..].copy_from_slice(&self.1.to_be_bytes());
        key
    }

    pub(crate) fn decode(key: &[u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, seq @ ..] = *key;
        Self(SessionKey(u64::from_be_bytes([a, b, c, d, e, f, g, h])), u64::from_be_bytes(seq))
    }
}

impl Place {
    pub(crate) fn encode_row(&self, key: &[u8; 16], out: &mut Vec<u8>) {
        frame(VERSION, key, out, |out| self.encode(out));
    }

    pub(crate) fn decode_row(key: &[u8; 16], bytes: &[u8]) -> Result<Self, RowError> {
        let mut rest = match unframe(key, bytes)? {
            (VERSION, payload) => payload,
            (version, _) => return Err(RowError::UnknownVersion { version, newest: VERSION }),
        };
        let place = Self::decode(&mut rest);
        let place = place.ok_or_else(|| RowError::malformed("a queue row is malformed"))?;
        match rest {
            [] => Ok(place),
            _ => Err(RowError::malformed("a queue row is too long")),
        }
    }

    /// Appends the payload.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend([self.flags, if self.expires_at_ms.is_some() { SHAPE_EXPIRES } else { 0 }]);
        if let Some(expires_at_ms) = self.expires_at_ms {
            out.extend(expires_at_ms.to_le_bytes());
        }
        out.extend(self.body.segment.to_le_bytes());
        for part in [self.body.offset, self.body.bytes, self.body.checksum, self.share] {
            out.extend(part.to_le_bytes());
        }
    }

    /// Takes a payload off the front of `bytes`.
    pub(crate) fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let [flags, shape] = take(bytes)?;
        let expires_at_ms = match shape {
            0 => None,
            SHAPE_EXPIRES => Some(u64::from_le_bytes(take(bytes)?)),
            _ => return None,
        };
        let segment = u64::from_le_bytes(take(bytes)?);
        let mut part = || take(bytes).map(u32::from_le_bytes);
        let body = Location { segment, offset: part()?, bytes: part()?, checksum: part()? };
        Some(Self { flags, expires_at_ms, body, share: part()? })
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}
