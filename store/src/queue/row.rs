//! The tables of the queues and the bytes of their rows.
//!
//! A queue row is framed like every row. Its payload: `[flags u8][shape u8][expires u64?]`, then
//! the body itself or, when shared, `[body id u64][body length u32]`. Numbers are little endian;
//! the key is big endian, so that a session's rows lie in order.

use super::SessionKey;
use crate::row::{RowError, frame, unframe};
use redb::TableDefinition;

/// `session, seq` to a queue row.
pub(super) const QUEUE: TableDefinition<'static, &'static [u8; 16], &'static [u8]> =
    TableDefinition::new(QUEUE_NAME);
/// Body id to a framed body that several queue rows share.
pub(super) const BODIES: TableDefinition<'static, u64, &'static [u8]> =
    TableDefinition::new(BODIES_NAME);
/// Body id to how many queue rows share it. Apart from the bodies, so that a count changes without
/// a rewrite.
pub(super) const BODY_REFS: TableDefinition<'static, u64, u32> =
    TableDefinition::new("queue_body_refs");

pub(super) const QUEUE_NAME: &str = "queue";
pub(super) const BODIES_NAME: &str = "queue_bodies";

const VERSION: u8 = 1;
const SHAPE_EXPIRES: u8 = 1;
const SHAPE_SHARED: u8 = 2;

/// A queue row, its body still where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueueRow<'a> {
    pub(super) flags: u8,
    pub(super) expires_at_ms: Option<u64>,
    pub(super) body: RowBody<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowBody<'a> {
    Inline(&'a [u8]),
    Shared { id: u64, bytes: u32 },
}

pub(super) fn queue_key(session: SessionKey, seq: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&session.0.to_be_bytes());
    key[8..].copy_from_slice(&seq.to_be_bytes());
    key
}

pub(super) fn seq_of(key: &[u8; 16]) -> u64 {
    let [.., a, b, c, d, e, f, g, h] = *key;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

impl<'a> QueueRow<'a> {
    pub(super) fn encode(&self, key: &[u8; 16], out: &mut Vec<u8>) {
        frame(VERSION, key, out, |out| {
            let expires = if self.expires_at_ms.is_some() { SHAPE_EXPIRES } else { 0 };
            let shared = if matches!(self.body, RowBody::Shared { .. }) { SHAPE_SHARED } else { 0 };
            out.extend([self.flags, expires | shared]);
            if let Some(expires_at_ms) = self.expires_at_ms {
                out.extend(expires_at_ms.to_le_bytes());
            }
            match self.body {
                RowBody::Inline(body) => out.extend_from_slice(body),
                RowBody::Shared { id, bytes } => {
                    out.extend(id.to_le_bytes());
                    out.extend(bytes.to_le_bytes());
                }
            }
        });
    }

    pub(super) fn decode(key: &[u8; 16], bytes: &'a [u8]) -> Result<Self, RowError> {
        let mut rest = payload(key, bytes)?;
        let [flags, shape] = take(&mut rest)?;
        if shape & !(SHAPE_EXPIRES | SHAPE_SHARED) != 0 {
            return Err(RowError::malformed("unknown shape of a queue row"));
        }
        let expires_at_ms = match shape & SHAPE_EXPIRES {
            0 => None,
            _ => Some(u64::from_le_bytes(take(&mut rest)?)),
        };
        if shape & SHAPE_SHARED == 0 {
            return Ok(Self { flags, expires_at_ms, body: RowBody::Inline(rest) });
        }
        let id = u64::from_le_bytes(take(&mut rest)?);
        let bytes = u32::from_le_bytes(take(&mut rest)?);
        match rest {
            [] => Ok(Self { flags, expires_at_ms, body: RowBody::Shared { id, bytes } }),
            _ => Err(RowError::malformed("a queue row is too long")),
        }
    }
}

pub(super) fn encode_body(id: u64, body: &[u8], out: &mut Vec<u8>) {
    frame(VERSION, &id.to_be_bytes(), out, |out| out.extend_from_slice(body));
}

pub(super) fn decode_body(id: u64, bytes: &[u8]) -> Result<&[u8], RowError> {
    payload(&id.to_be_bytes(), bytes)
}

fn payload<'a>(key: &[u8], bytes: &'a [u8]) -> Result<&'a [u8], RowError> {
    match unframe(key, bytes)? {
        (VERSION, payload) => Ok(payload),
        (version, _) => Err(RowError::UnknownVersion { version, newest: VERSION }),
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], RowError> {
    let short = || RowError::malformed("a queue row is too short");
    let (head, rest) = bytes.split_first_chunk::<N>().ok_or_else(short)?;
    *bytes = rest;
    Ok(*head)
}
