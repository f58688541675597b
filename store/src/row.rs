//! Rows: what a table holds, and the frame around each.
//!
//! Frame: `[version u8][crc32c u32 little endian][payload]`, the checksum covering version, key and
//! payload. So a torn row, a row under a foreign key and a row of a later release are all told from
//! a good one, and none of them is ever taken for an empty or default value.

use crate::error::ReadError;
use crate::key::RowKey;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of the frame before the payload.
pub(crate) const FRAME_BYTES: usize = 5;

/// One kind of row, kept in a table of its own.
pub trait Row: Sized + Send + 'static {
    /// What the rows are found by.
    type Key: RowKey;
    /// The name of the table, unique in the process and never changed.
    const TABLE: &'static str;
    /// The version that [`encode`](Row::encode) writes; raised with every change of the payload's
    /// form.
    const VERSION: u8;

    /// Appends the payload to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads a payload of any version up to [`VERSION`](Row::VERSION), upgrading older ones.
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError>;
}

/// Why the bytes of a row are not a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// Shorter than its frame.
    #[error("torn: only {bytes} bytes")]
    Torn {
        /// Its length.
        bytes: usize,
    },
    /// The checksum does not match.
    #[error("wrong checksum")]
    Checksum,
    /// Written by a release that this one does not know.
    #[error("unknown version {version}, the newest known is {newest}")]
    UnknownVersion {
        /// The version of the row.
        version: u8,
        /// The newest one known here.
        newest: u8,
    },
    /// The key is not a key of this table.
    #[error("the key is malformed")]
    Key,
    /// The payload is not what its version says.
    #[error("malformed: {0}")]
    Malformed(String),
}

impl RowError {
    /// A payload that is not what its version says, and why.
    pub fn malformed(reason: impl ToString) -> Self {
        Self::Malformed(reason.to_string())
    }
}

/// Appends `row` as JSON, for [`Row::encode`].
///
/// # Panics
/// When `row` cannot be JSON, such as a map with keys that are no texts: a mistake in the type,
/// never in the data.
pub fn encode_json<T: Serialize>(row: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, row).expect("a row must be expressible in JSON");
}

/// Reads JSON of exactly the current version, for the [`Row::decode`] of a row that never changed
/// its form.
pub fn decode_json<R: Row + DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<R, RowError> {
    if version != R::VERSION {
        return Err(RowError::UnknownVersion { version, newest: R::VERSION });
    }
    from_json(bytes)
}

/// Reads JSON of whatever type an older version had, for a [`Row::decode`] that upgrades.
pub fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RowError> {
    serde_json::from_slice(bytes).map_err(RowError::malformed)
}

/// Makes `out` one framed row whose payload `encode` appends.
pub(crate) fn frame(version: u8, key: &[u8], out: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>)) {
    out.clear();
    out.extend([version, 0, 0, 0, 0]);
    encode(out);
    let sum = checksum(version, key, &out[FRAME_BYTES..]);
    out[1..FRAME_BYTES].copy_from_slice(&sum.to_le_bytes());
}

/// Checks the frame and splits it into version and payload.
pub(crate) fn unframe<'a>(key: &[u8], bytes: &'a [u8]) -> Result<(u8, &'a [u8]), RowError> {
    let Some((head, payload)) = bytes.split_first_chunk::<FRAME_BYTES>() else {
        return Err(RowError::Torn { bytes: bytes.len() });
    };
    let [version, sum @ ..] = *head;
    if u32::from_le_bytes(sum) != checksum(version, key, payload) {
        return Err(RowError::Checksum);
    }
    Ok((version, payload))
}

/// Reads a framed row with its key.
pub(crate) fn read_row<R: Row>(key: &[u8], bytes: &[u8]) -> Result<(R::Key, R), ReadError> {
    let unreadable = |reason| ReadError::Unreadable { table: R::TABLE, key: key.to_vec(), reason };
    let (version, payload) = unframe(key, bytes).map_err(unreadable)?;
    if version > R::VERSION {
        return Err(unreadable(RowError::UnknownVersion { version, newest: R::VERSION }));
    }
    let typed_key = R::Key::decode(key).ok_or_else(|| unreadable(RowError::Key))?;
    let row = R::decode(version, payload).map_err(unreadable)?;
    Ok((typed_key, row))
}

fn checksum(version: u8, key: &[u8], payload: &[u8]) -> u32 {
    let sum = crc32c::crc32c(&[version]);
    crc32c::crc32c_append(crc32c::crc32c_append(sum, key), payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Reading {
        value: u32,
    }

    impl Row for Reading {
        type Key = String;
        const TABLE: &'static str = "readings";
        const VERSION: u8 = 2;

        fn encode(&self, out: &mut Vec<u8>) {
            encode_json(self, out);
        }

        fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
            match version {
                1 => from_json(bytes).map(|value| Self { value }),
                _ => decode_json(version, bytes),
            }
        }
    }

    fn framed(version: u8, key: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        frame(version, key, &mut out, |out| out.extend_from_slice(payload));
        out
    }

    fn reason(read: Result<(String, Reading), ReadError>) -> RowError {
        match read {
            Err(ReadError::Unreadable { table: "readings", reason, .. }) => reason,
            other => panic!("not unreadable: {other:?}"),
        }
    }

    #[test]
    fn current_and_older_versions_are_read() {
        let now = framed(2, b"a\0", br#"{"value":7}"#);
        assert_eq!(read_row::<Reading>(b"a\0", &now), Ok(("a".into(), Reading { value: 7 })));
        let old = framed(1, b"a\0", b"7");
        assert_eq!(read_row::<Reading>(b"a\0", &old), Ok(("a".into(), Reading { value: 7 })));
    }

    #[test]
    fn a_newer_version_is_unreadable() {
        let newer = framed(3, b"a\0", b"7");
        let expected = RowError::UnknownVersion { version: 3, newest: 2 };
        assert_eq!(reason(read_row(b"a\0", &newer)), expected);
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_noticed() {
        let good = framed(2, b"a\0", br#"{"value":7}"#);
        for length in 0..good.len() {
            assert!(read_row::<Reading>(b"a\0", &good[..length]).is_err(), "cut at {length}");
        }
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(read_row::<Reading>(b"a\0", &bad).is_err(), "bit {bit} flipped");
        }
        assert_eq!(reason(read_row(b"b\0", &good)), RowError::Checksum);
    }

    #[test]
    fn a_payload_of_another_form_is_unreadable() {
        let wrong = framed(2, b"a\0", br#"{"value":"x"}"#);
        assert!(matches!(reason(read_row(b"a\0", &wrong)), RowError::Malformed(_)));
        let unterminated = framed(2, b"a", br#"{"value":7}"#);
        assert_eq!(reason(read_row(b"a", &unterminated)), RowError::Key);
    }
}
