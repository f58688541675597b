//! Frames: how a record lies in a segment, and how a segment begins.
//!
//! Segment: `[magic 8][store u64][segment u64][first record u64][crc32c u32][0 u32]`, then frames.
//! Frame: `[length u32][crc32c u32][record u64][synced u64][payload]`, numbers little endian. The
//! checksum covers everything else of the frame and begins with the number of the store, so that
//! bytes of another store are never taken for its own. `synced` is the newest record that was known
//! to be on disk when the frame was written: a bad frame before it was acknowledged, a bad frame
//! after it may be the torn end of what never was.

/// Bytes of a segment before its first frame.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 40;
/// Bytes of a frame before its payload.
pub(crate) const FRAME_HEADER_BYTES: usize = 24;

const MAGIC: &[u8; 8] = b"mfldlog1";

/// How a segment begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) store: u64,
    pub(crate) segment: u64,
    /// The number of the first record in it. A frame of this or a higher number in an earlier
    /// segment is not valid any more.
    pub(crate) first_record: u64,
}

/// A frame read in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) record: u64,
    pub(crate) synced: u64,
    pub(crate) payload: &'a [u8],
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut out = [0; SEGMENT_HEADER_BYTES];
        out[..8].copy_from_slice(MAGIC);
        out[8..16].copy_from_slice(&self.store.to_le_bytes());
        out[16..24].copy_from_slice(&self.segment.to_le_bytes());
        out[24..32].copy_from_slice(&self.first_record.to_le_bytes());
        let sum = crc32c::crc32c(&out[..32]);
        out[32..36].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// `None` when these bytes are not the beginning of a segment.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let head = bytes.first_chunk::<SEGMENT_HEADER_BYTES>()?;
        let header = Self {
            store: u64_at(head, 8)?,
            segment: u64_at(head, 16)?,
            first_record: u64_at(head, 24)?,
        };
        (header.encode() == *head).then_some(header)
    }
}

/// Makes `out` one frame whose payload `write` appends; `None` when that is too long.
pub(crate) fn encode<T>(
    out: &mut Vec<u8>,
    store: u64,
    (record, synced): (u64, u64),
    write: impl FnOnce(&mut Vec<u8>) -> T,
) -> Option<T> {
    out.clear();
    out.extend([0; FRAME_HEADER_BYTES]);
    let written = write(out);
    let length = u32::try_from(out.len() - FRAME_HEADER_BYTES).ok()?;
    out[..4].copy_from_slice(&length.to_le_bytes());
    out[8..16].copy_from_slice(&record.to_le_bytes());
    out[16..24].copy_from_slice(&synced.to_le_bytes());
    let sum = checksum(out, store);
    out[4..8].copy_from_slice(&sum.to_le_bytes());
    Some(written)
}

/// The frame at the front of `bytes`; `None` when there is none that is whole.
pub(crate) fn decode(bytes: &[u8], store: u64) -> Option<Frame<'_>> {
    let head = bytes.first_chunk::<FRAME_HEADER_BYTES>()?;
    let length = usize::try_from(u32_at(head, 0)?).ok()?;
    let frame = bytes.get(..FRAME_HEADER_BYTES.checked_add(length)?)?;
    if length == 0 || checksum(frame, store) != u32_at(head, 4)? {
        return None;
    }
    let (record, synced) = (u64_at(head, 8)?, u64_at(head, 16)?);
    Some(Frame { record, synced, payload: &frame[FRAME_HEADER_BYTES..] })
}

/// Whether a frame somewhere in `bytes` shows that `record`, found bad before it, was on disk once.
pub(crate) fn shows_synced(bytes: &[u8], store: u64, record: u64) -> bool {
    let is_possible = |at: &usize| {
        let (Some(later), Some(synced)) = (u64_at(bytes, at + 8), u64_at(bytes, at + 16)) else {
            return false;
        };
        later > record && synced >= record && synced < later
    };
    let starts = 0..bytes.len().saturating_sub(FRAME_HEADER_BYTES);
    starts.filter(is_possible).any(|at| decode(&bytes[at..], store).is_some())
}

fn checksum(frame: &[u8], store: u64) -> u32 {
    let sum = crc32c::crc32c_append(crc32c::crc32c(&store.to_le_bytes()), &frame[..4]);
    crc32c::crc32c_append(sum, &frame[8..])
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(record: u64, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, 7, (record, record - 1), |out| out.extend_from_slice(payload)).unwrap();
        out
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_noticed() {
        let good = frame(3, b"hello");
        let expected = Frame { record: 3, synced: 2, payload: b"hello" };
        assert_eq!(decode(&good, 7), Some(expected));
        assert_eq!(decode(&good, 8), None, "a frame of another store");
        for length in 0..good.len() {
            assert_eq!(decode(&good[..length], 7), None, "cut at {length}");
        }
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bad, 7), None, "bit {bit} flipped");
        }
        let header = SegmentHeader { store: 7, segment: 2, first_record: 9 };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Some(header));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bad), None, "bit {bit} of the header flipped");
        }
    }

    #[test]
    fn a_later_frame_shows_what_was_on_disk() {
        let bytes = [b"noise".to_vec(), frame(5, b"five")].concat();
        assert!(shows_synced(&bytes, 7, 4));
        assert!(!shows_synced(&bytes, 7, 5), "the frame itself says nothing of its own fate");
        assert!(!shows_synced(&bytes, 8, 4));
        assert!(!shows_synced(b"noise", 7, 4));
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decode(&bytes, 7), None);
            prop_assert_eq!(SegmentHeader::decode(&bytes), None);
            prop_assert!(!shows_synced(&bytes, 7, 1));
        }
    }
}
