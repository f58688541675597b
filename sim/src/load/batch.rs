//! Ready-made PUBLISH packets of one publisher, stamped in place.
//!
//! The batch holds the same packet many times; sending `n` messages means patching `n` stamps (and
//! packet identifiers) and handing the first part of the buffer to one write. The stamp is the
//! first [`STAMP_BYTES`] of the payload: publisher, sequence number, time of sending.

use super::packet::{PublishTemplate, publish};

/// Bytes of the payload that the generator needs for itself.
pub const STAMP_BYTES: usize = 20;

/// What a message carries about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Index of the publisher.
    pub publisher: u32,
    /// Number of the message of that publisher, from 0.
    pub sequence: u64,
    /// When it was sent, in nanoseconds since the start of the run.
    pub sent_ns: u64,
}

impl Stamp {
    /// Writes the stamp to the start of `payload`, which holds at least [`STAMP_BYTES`].
    pub fn write(&self, payload: &mut [u8]) {
        payload[0..4].copy_from_slice(&self.publisher.to_be_bytes());
        payload[4..12].copy_from_slice(&self.sequence.to_be_bytes());
        payload[12..20].copy_from_slice(&self.sent_ns.to_be_bytes());
    }

    /// Reads the stamp from the start of `payload`; nothing when it is too short.
    #[must_use]
    pub fn read(payload: &[u8]) -> Option<Self> {
        let (publisher, rest) = payload.split_first_chunk::<4>()?;
        let (sequence, rest) = rest.split_first_chunk::<8>()?;
        let (sent_ns, _) = rest.split_first_chunk::<8>()?;
        Some(Self {
            publisher: u32::from_be_bytes(*publisher),
            sequence: u64::from_be_bytes(*sequence),
            sent_ns: u64::from_be_bytes(*sent_ns),
        })
    }
}

/// A buffer of up to [`Batch::capacity`] packets.
#[derive(Debug)]
pub struct Batch {
    template: PublishTemplate,
    bytes: Vec<u8>,
    filled_bytes: usize,
}

impl Batch {
    /// Makes a batch of `capacity` packets, at least one.
    #[must_use]
    pub fn new(topic: &str, qos: u8, payload_bytes: usize, capacity: usize) -> Self {
        let template = publish(topic, qos, payload_bytes);
        let bytes = template.bytes.repeat(capacity.max(1));
        Self { template, bytes, filled_bytes: 0 }
    }

    /// Packets that fit.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.len() / self.template.bytes.len()
    }

    /// Empties the batch.
    pub fn clear(&mut self) {
        self.filled_bytes = 0;
    }

    /// Stamps the next packet; a full batch stays as it is and answers `false`.
    pub fn push(&mut self, stamp: Stamp) -> bool {
        let packet_bytes = self.template.bytes.len();
        let end = self.filled_bytes + packet_bytes;
        let Some(packet) = self.bytes.get_mut(self.filled_bytes..end) else {
            return false;
        };
        if let Some(at) = self.template.packet_id_at {
            packet[at..at + 2].copy_from_slice(&packet_id(stamp.sequence).to_be_bytes());
        }
        stamp.write(&mut packet[self.template.payload_at..]);
        self.filled_bytes = end;
        true
    }

    /// The stamped packets.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.filled_bytes]
    }
}

/// Packet identifiers run from 1 to 65,535 (MQTT 3.1.1 section 2.3.1).
fn packet_id(sequence: u64) -> u16 {
    (sequence % u64::from(u16::MAX)) as u16 + 1
}

#[cfg(test)]
mod tests {
    use super::super::packet::{Packet, parse};
    use super::*;

    #[test]
    fn stamped_packets_parse_back_in_order() {
        let mut batch = Batch::new("load/x", 1, 64, 3);
        let stamp = |sequence| Stamp { publisher: 4, sequence, sent_ns: 77 + sequence };
        for sequence in 65_534..65_537 {
            assert!(batch.push(stamp(sequence)));
        }
        assert!(!batch.push(stamp(1)));
        let mut rest = batch.bytes();
        for (sequence, id) in [(65_534, 65_535), (65_535, 1), (65_536, 2)] {
            let (packet, len) = parse(rest, 1000).unwrap().unwrap();
            let Packet::Publish { packet_id, payload } = packet else { panic!("{packet:?}") };
            assert_eq!((packet_id, payload.len()), (Some(id), 64));
            assert_eq!(Stamp::read(payload), Some(stamp(sequence)));
            rest = &rest[len..];
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn a_cleared_batch_can_be_filled_again() {
        let mut batch = Batch::new("t", 0, STAMP_BYTES, 2);
        let stamp = Stamp { publisher: 0, sequence: 0, sent_ns: 0 };
        batch.push(stamp);
        let one = batch.bytes().len();
        batch.clear();
        assert!(batch.bytes().is_empty());
        assert!(batch.push(stamp) && batch.push(stamp) && !batch.push(stamp));
        assert_eq!(batch.bytes().len(), 2 * one);
        assert_eq!(batch.capacity(), 2);
    }

    #[test]
    fn a_payload_without_a_stamp_is_not_read() {
        assert_eq!(Stamp::read(&[0; STAMP_BYTES - 1]), None);
    }
}
