//! What a fuzz target may reach besides the public broker: the decoders.

use crate::codec::{self, Frame, publish};
use crate::packet::Version;

/// Longest packet that is tried.
const PACKET_BYTES_MAX: usize = 1 << 20;

/// Reads bytes as packets of both versions, as the connection does. Panics where the decoders are wrong.
pub fn decode(bytes: &[u8]) {
    for version in [Version::V3, Version::V5] {
        let mut rest = bytes;
        while let Ok(Frame::Whole { first_byte, body_start, bytes: length }) =
            codec::frame(rest, PACKET_BYTES_MAX)
        {
            let (packet, more) = rest.split_at(length);
            if first_byte >> 4 == 1
                && let Ok(version) = codec::connect::version(packet, body_start)
            {
                let _ = codec::connect::check(version, packet, body_start);
            }
            let decoded = match first_byte >> 4 {
                3 => publish::read(version, packet, body_start).map(|_| ()),
                _ => codec::decode(version, packet).map(|_| ()),
            };
            // The connection ends at the first packet that is wrong.
            if decoded.is_err() {
                break;
            }
            rest = more;
        }
    }
}
