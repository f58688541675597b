//! Bytes to packets and back: framing here, packets in one file per protocol version.
//!
//! `rmqtt-codec` knows the packets. Two things stay ours: the frame is cut before the codec sees it, so that no
//! length field makes anybody allocate before the bytes have arrived; and PUBLISH with its acknowledgements, which is
//! nearly all traffic, is read and written without the codec ([`publish`], [`ack`]).

mod ack;
pub(crate) mod connect;
mod properties;
pub(crate) mod publish;
mod v3;
mod v5;

use crate::packet::{Manner, Packet, Reply, Version};
use crate::reason::Reason;
use bytes::BytesMut;

/// What stands at the front of a receive buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    /// More bytes are needed; the whole frame will have so many, if that is known yet.
    Incomplete { bytes: Option<usize> },
    /// A whole packet: its first byte, where its body starts, and its length with header.
    Whole { first_byte: u8, body_start: usize, bytes: usize },
}

/// Finds the packet at the front of `buffer` (MQTT 5.0 2.1); refuses one longer than `bytes_max`.
pub(crate) fn frame(buffer: &[u8], bytes_max: usize) -> Result<Frame, Reason> {
    let mut body_bytes = 0;
    for index in 0..4 {
        let Some(&byte) = buffer.get(1 + index) else {
            return Ok(Frame::Incomplete { bytes: None });
        };
        body_bytes |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            let body_start = 2 + index;
            let bytes = body_start + body_bytes;
            if bytes > bytes_max {
                return Err(Reason::PacketTooLarge);
            }
            if buffer.len() < bytes {
                return Ok(Frame::Incomplete { bytes: Some(bytes) });
            }
            return Ok(Frame::Whole { first_byte: buffer[0], body_start, bytes });
        }
    }
    Err(Reason::MalformedPacket)
}

/// Decodes one whole packet.
pub(crate) fn decode(version: Version, packet: &[u8]) -> Result<Packet, Reason> {
    check_flags(packet[0])?;
    if let Some(ack) = ack::read(version, packet) {
        return ack.map(Packet::Ack);
    }
    let mut buffer = BytesMut::from(packet);
    match version {
        Version::V3 => v3::decode(&mut buffer),
        Version::V5 => v5::decode(&mut buffer),
    }
}

/// Encodes a reply at the end of `out`. What the version cannot say is left out, and so are reasons in words and the
/// response information where they are not wanted or would make the packet longer than the client takes.
pub(crate) fn encode(manner: Manner, reply: &Reply, out: &mut BytesMut) {
    match (manner.version, reply) {
        (version, Reply::Ack { kind, packet_id, reason, why: None }) => {
            ack::write(version, *kind, *packet_id, *reason, out);
        }
        (version @ Version::V3, Reply::Ack { kind, packet_id, reason, .. }) => {
            ack::write(version, *kind, *packet_id, *reason, out);
        }
        (Version::V3, _) => v3::encode(reply, out),
        (Version::V5, _) => {
            // These may say why even to who has not asked for it (MQTT 5.0 3.1.2-29).
            let is_whole =
                manner.wants_words || matches!(reply, Reply::ConnAck(_) | Reply::Disconnect(_));
            let start = out.len();
            v5::encode(reply, is_whole, out);
            if is_whole && out.len() - start > manner.packet_bytes_max as usize {
                out.truncate(start);
                v5::encode(reply, false, out);
            }
        }
    }
}

/// The flag bits that each packet type fixes (MQTT 5.0 2.1.3).
fn check_flags(first_byte: u8) -> Result<(), Reason> {
    let flags = first_byte & 0x0F;
    let is_right = match first_byte >> 4 {
        0 => false,
        3 => flags >> 1 & 0b11 != 0b11 && !(flags & 0b1000 != 0 && flags & 0b0110 == 0),
        6 | 8 | 10 => flags == 0b0010,
        _ => flags == 0,
    };
    if is_right { Ok(()) } else { Err(Reason::MalformedPacket) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_frame_is_cut_only_when_it_is_whole() {
        assert_eq!(frame(&[], 100), Ok(Frame::Incomplete { bytes: None }));
        assert_eq!(frame(&[0xC0], 100), Ok(Frame::Incomplete { bytes: None }));
        assert_eq!(
            frame(&[0xC0, 0], 100),
            Ok(Frame::Whole { first_byte: 0xC0, body_start: 2, bytes: 2 })
        );
        assert_eq!(frame(&[0x30, 5, 1], 100), Ok(Frame::Incomplete { bytes: Some(7) }));
        assert_eq!(frame(&[0x30, 0x80, 0x01], 100), Err(Reason::PacketTooLarge));
        assert_eq!(frame(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF], 100), Err(Reason::MalformedPacket));
    }

    #[test]
    fn reserved_flags_are_refused() {
        for bad in [0x00, 0x36, 0x38, 0x60, 0x80, 0x82 ^ 0x03, 0xC1, 0xE8, 0x11] {
            assert_eq!(check_flags(bad), Err(Reason::MalformedPacket), "{bad:#x}");
        }
        for good in [0x10, 0x30, 0x31, 0x3B, 0x3D, 0x62, 0x82, 0xA2, 0xC0, 0xE0] {
            assert_eq!(check_flags(good), Ok(()), "{good:#x}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_a_decoder(mut bytes in proptest::collection::vec(any::<u8>(), 2..200), v5 in any::<bool>()) {
            // A right length field lets the body reach the packet decoders.
            bytes[1] = u8::try_from((bytes.len() - 2) & 0x7F).unwrap();
            bytes.truncate(2 + usize::from(bytes[1]));
            let version = if v5 { Version::V5 } else { Version::V3 };
            let _ = decode(version, &bytes);
            let _ = publish::read(version, &bytes, 2);
        }
    }
}
