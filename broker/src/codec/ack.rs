//! PUBACK, PUBREC, PUBREL and PUBCOMP, read and written without a detour (MQTT 5.0 3.4 to 3.7).
//!
//! All four are an identifier and, from MQTT 5.0 on, a reason code. Those that carry more than that are rare and take
//! the way through the codec.

use super::publish::{put_text, put_var_int, var_int_bytes};
use crate::packet::{Ack, AckKind, Version};
use crate::reason::Reason;
use bytes::{BufMut, BytesMut};
use std::num::NonZeroU16;

/// Reads `packet` if it is one of the four and as short as nearly all are; its flags are still to be checked.
pub(crate) fn read(version: Version, packet: &[u8]) -> Option<Result<Ack, Reason>> {
    let kind = match packet[0] >> 4 {
        4 => AckKind::PubAck,
        5 => AckKind::PubRec,
        6 => AckKind::PubRel,
        7 => AckKind::PubComp,
        _ => return None,
    };
    let (id, is_refusal) = match (version, packet) {
        (_, &[_, 2, high, low]) => ([high, low], false),
        (Version::V5, &[_, 3, high, low, code]) if is_known(kind, code) => {
            ([high, low], code >= 0x80)
        }
        _ => return None,
    };
    let packet_id = NonZeroU16::new(u16::from_be_bytes(id));
    Some(
        packet_id.map(|packet_id| Ack { kind, packet_id, is_refusal }).ok_or(Reason::ProtocolError),
    )
}

/// The reason codes of each packet (MQTT 5.0 3.4.2.1 and 3.6.2.1); others are for the codec to refuse.
fn is_known(kind: AckKind, code: u8) -> bool {
    match kind {
        AckKind::PubAck | AckKind::PubRec => {
            matches!(code, 0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
        }
        AckKind::PubRel | AckKind::PubComp => matches!(code, 0x00 | 0x92),
    }
}

/// Writes one at the end of `out`. Before MQTT 5.0 none can say no: the caller closes the connection where it must.
pub(crate) fn write(
    version: Version,
    kind: AckKind,
    packet_id: NonZeroU16,
    reason: Reason,
    out: &mut BytesMut,
) {
    let first_byte = first_byte(kind);
    let [high, low] = packet_id.get().to_be_bytes();
    // Without properties the reason code ends the packet, and 0x00 may be left out (3.4.2.1, 3.4.2.2.1).
    match (version, reason) {
        (Version::V3, _) | (_, Reason::Success) => out.put_slice(&[first_byte, 2, high, low]),
        (Version::V5, _) => out.put_slice(&[first_byte, 3, high, low, reason.code()]),
    }
}

/// Writes one of MQTT 5.0 that may say why in words (3.4.2.2.2).
pub(super) fn write_with(
    kind: AckKind,
    packet_id: NonZeroU16,
    reason: Reason,
    words: Option<&str>,
    out: &mut BytesMut,
) {
    const REASON_STRING: u8 = 0x1F;
    let Some(words) = words else { return write(Version::V5, kind, packet_id, reason, out) };
    let properties = 1 + 2 + words.len();
    out.put_u8(first_byte(kind));
    put_var_int(out, 3 + var_int_bytes(properties) + properties);
    out.put_u16(packet_id.get());
    out.put_u8(reason.code());
    put_var_int(out, properties);
    out.put_u8(REASON_STRING);
    put_text(out, words.as_bytes());
}

fn first_byte(kind: AckKind) -> u8 {
    let flags = if kind == AckKind::PubRel { 0b0010 } else { 0 };
    (kind as u8) << 4 | flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Packet;
    use rmqtt_codec::v5;
    use tokio_util::codec::Decoder as _;

    const KINDS: [AckKind; 4] =
        [AckKind::PubAck, AckKind::PubRec, AckKind::PubRel, AckKind::PubComp];

    #[test]
    fn the_short_way_reads_as_the_codec_does() {
        let packet_id = NonZeroU16::new(0x0102).unwrap();
        for kind in KINDS {
            let refusal = match kind {
                AckKind::PubAck | AckKind::PubRec => Reason::QuotaExceeded,
                AckKind::PubRel | AckKind::PubComp => Reason::PacketIdNotFound,
            };
            for (version, reason) in [
                (Version::V3, Reason::Success),
                (Version::V5, Reason::Success),
                (Version::V5, refusal),
            ] {
                let mut out = BytesMut::new();
                write(version, kind, packet_id, reason, &mut out);
                let expected = Ack { kind, packet_id, is_refusal: reason.is_failure() };
                assert_eq!(read(version, &out), Some(Ok(expected)), "{kind:?} {reason}");
                match crate::codec::decode(version, &out) {
                    Ok(Packet::Ack(ack)) => assert_eq!(ack, expected),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn the_codec_reads_why() {
        let packet_id = NonZeroU16::new(7).unwrap();
        // Around each length at which a length takes one more byte.
        for length in [0, 1, 120, 124, 125, 126, 127, 128, 300] {
            let words = "x".repeat(length);
            let mut out = BytesMut::new();
            let (kind, reason) = (AckKind::PubAck, Reason::PayloadFormatInvalid);
            write_with(kind, packet_id, reason, Some(&words), &mut out);
            let read = v5::Codec::default().decode(&mut out).unwrap();
            let Some((v5::Packet::PublishAck(ack), _)) = read else { panic!("{read:?}") };
            assert_eq!((ack.packet_id, u8::from(ack.reason_code)), (packet_id, reason.code()));
            assert_eq!(ack.reason_string.as_deref(), Some(&*words));
            assert!(out.is_empty());
        }
    }

    #[test]
    fn an_identifier_of_zero_and_an_unknown_reason_are_refused() {
        assert_eq!(read(Version::V3, &[0x40, 2, 0, 0]), Some(Err(Reason::ProtocolError)));
        let unknown = [0x40, 3, 0, 1, 0x81];
        assert_eq!(read(Version::V5, &unknown), None);
        assert!(crate::codec::decode(Version::V5, &unknown).is_err());
    }
}
