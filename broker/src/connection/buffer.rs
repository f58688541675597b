//! Receive buffers: one scratch for each worker thread, and what a connection keeps between reads.
//!
//! Reading into a scratch that all connections of a thread share keeps it in the cache and leaves an idle
//! connection without a buffer. Only the beginning of a packet that has not come whole is kept, with no more memory
//! than its bytes need.

use crate::codec::{Frame, frame};
use crate::reason::Reason;
use bytes::{Buf, BytesMut};
use std::cell::RefCell;

/// The most that one read takes.
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// Lends the scratch of this thread. A connection never reads within another's turn, so it is free.
pub(super) fn with_scratch<T>(read: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => read(&mut scratch),
        Err(_) => read(&mut vec![0; SCRATCH_BYTES]),
    })
}

/// What a connection keeps between reads.
#[derive(Debug)]
pub(super) struct Inbox {
    kept: BytesMut,
    packet_bytes_max: usize,
}

impl Inbox {
    /// Goes on with bytes that came behind the CONNECT packet.
    pub(super) fn new(kept: BytesMut, packet_bytes_max: usize) -> Self {
        // An empty rest of a buffer keeps the whole buffer alive.
        let kept = if kept.is_empty() { BytesMut::new() } else { kept };
        Self { kept, packet_bytes_max }
    }

    /// Whether a whole packet, or a broken one, is kept.
    pub(super) fn has_frame(&self) -> bool {
        !self.kept.is_empty()
            && !matches!(frame(&self.kept, self.packet_bytes_max), Ok(Frame::Incomplete { .. }))
    }

    /// The whole packet at the front of what is kept, with the start of its body.
    pub(super) fn take(&mut self) -> Result<Option<(BytesMut, usize)>, Reason> {
        match frame(&self.kept, self.packet_bytes_max)? {
            Frame::Incomplete { .. } => Ok(None),
            Frame::Whole { body_start, bytes, .. } => {
                let packet = self.kept.split_to(bytes);
                if self.kept.is_empty() {
                    self.kept = BytesMut::new();
                }
                Ok(Some((packet, body_start)))
            }
        }
    }

    /// Moves as many of `bytes` over as the packet kept still needs. Says whether it is whole now.
    pub(super) fn complete(&mut self, bytes: &mut &[u8]) -> Result<bool, Reason> {
        loop {
            let missing = match frame(&self.kept, self.packet_bytes_max)? {
                Frame::Whole { .. } => return Ok(true),
                // The header itself is not whole.
                Frame::Incomplete { bytes: None } => 1,
                Frame::Incomplete { bytes: Some(total) } => total - self.kept.len(),
            };
            if bytes.is_empty() {
                return Ok(false);
            }
            let count = missing.min(bytes.len());
            self.kept.extend_from_slice(&bytes[..count]);
            bytes.advance(count);
        }
    }

    /// Whether nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Keeps the rest for later.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
    }

    pub(super) fn packet_bytes_max(&self) -> usize {
        self.packet_bytes_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn packets_come_out_whole_however_they_are_cut(
            sizes in proptest::collection::vec(0usize..300, 1..20),
            cuts in proptest::collection::vec(1usize..50, 1..50),
        ) {
            let mut stream = Vec::new();
            let mut expected = Vec::new();
            for size in sizes {
                let mut packet = vec![0x30];
                if size < 128 {
                    packet.push(size as u8);
                } else {
                    packet.extend([(size & 0x7F) as u8 | 0x80, (size >> 7) as u8]);
                }
                packet.extend(vec![7; size]);
                stream.extend(&packet);
                expected.push(packet);
            }
            let mut inbox = Inbox::new(BytesMut::new(), 1000);
            let mut seen = Vec::new();
            let mut rest = &stream[..];
            for cut in cuts.into_iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (mut piece, later) = rest.split_at(cut.min(rest.len()));
                rest = later;
                while inbox.complete(&mut piece).unwrap() {
                    seen.push(inbox.take().unwrap().unwrap().0.to_vec());
                }
            }
            prop_assert_eq!(seen, expected);
            prop_assert!(inbox.is_empty());
        }
    }
}
