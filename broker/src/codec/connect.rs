//! CONNECT before the codec reads it: its version, and what the codec passes over (MQTT 5.0 3.1).
//!
//! The codec looks at each connect flag alone and leaves what it does not expect unread; a CONNECT must not be
//! taken for another than its sender meant, so flags and fields have to agree to the last byte.

use crate::packet::Version;
use crate::reason::Reason;

const RESERVED: u8 = 0b0000_0001;
const WILL: u8 = 0b0000_0100;
const WILL_QOS: u8 = 0b0001_1000;
const WILL_RETAIN: u8 = 0b0010_0000;
const PASSWORD: u8 = 0b0100_0000;
const USER_NAME: u8 = 0b1000_0000;

/// The version that the CONNECT packet in `packet` asks for, or that in which to refuse it: a client newer than
/// MQTT 5.0 understands that one best, and who does not speak MQTT understands none (MQTT 5.0 3.1.2.1 and 3.1.2.2).
pub(crate) fn version(packet: &[u8], body_start: usize) -> Result<Version, Option<Version>> {
    let level = match &packet[body_start..] {
        [0, 4, b'M', b'Q', b'T', b'T', level, ..] => *level,
        [0, 6, b'M', b'Q', b'I', b's', b'd', b'p', level, ..] if *level == 3 => 3,
        _ => return Err(None),
    };
    match level {
        3 | 4 => Ok(Version::V3),
        5 => Ok(Version::V5),
        0..3 => Err(Some(Version::V3)),
        6.. => Err(Some(Version::V5)),
    }
}

/// Checks that the connect flags are in order and that exactly the fields they announce are there.
pub(crate) fn check(version: Version, packet: &[u8], body_start: usize) -> Result<(), Reason> {
    fields(version, packet.get(body_start..).unwrap_or_default()).ok_or(Reason::MalformedPacket)
}

fn fields(version: Version, body: &[u8]) -> Option<()> {
    let (_name, rest) = take_field(body)?;
    let (&[_level, flags, _, _], rest) = rest.split_first_chunk()?;
    if !are_right(version, flags) {
        return None;
    }
    let mut rest = skip_properties(version, rest)?;
    (_, rest) = take_field(rest)?;
    if flags & WILL != 0 {
        rest = skip_properties(version, rest)?;
        // Topic and payload.
        (_, rest) = take_field(rest)?;
        (_, rest) = take_field(rest)?;
    }
    for flag in [USER_NAME, PASSWORD] {
        if flags & flag != 0 {
            (_, rest) = take_field(rest)?;
        }
    }
    rest.is_empty().then_some(())
}

fn are_right(version: Version, flags: u8) -> bool {
    flags & RESERVED == 0
        && flags & WILL_QOS != WILL_QOS
        // Will QoS and Will Retain are those of a will (MQTT 5.0 3.1.2-11 and 3.1.2-13).
        && (flags & WILL != 0 || flags & (WILL_QOS | WILL_RETAIN) == 0)
        // A password without a user name came with MQTT 5.0 (MQTT 3.1.1 3.1.2-22).
        && (version == Version::V5 || flags & USER_NAME != 0 || flags & PASSWORD == 0)
}

fn take_field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(length)))
}

fn skip_properties(version: Version, bytes: &[u8]) -> Option<&[u8]> {
    if version == Version::V3 {
        return Some(bytes);
    }
    let mut length = 0;
    for index in 0..4 {
        let byte = *bytes.get(index)?;
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return bytes.get(index + 1 + length..);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(level: u8, flags: u8, rest: &[u8]) -> Vec<u8> {
        [&[0x10, 0, 0, 4][..], b"MQTT", &[level, flags, 0, 60], rest].concat()
    }

    #[test]
    fn flags_belong_together() {
        for bad in [0b11, 0b1_1110, 0b1010, 0b1_0010, 0b10_0010] {
            assert!(!are_right(Version::V5, bad), "{bad:#b}");
        }
        for good in [0, 0b10, 0b110, 0b1_0110, 0b10_1110, 0b1100_0010, 0b1000_0010] {
            assert!(are_right(Version::V3, good), "{good:#b}");
        }
        assert!(are_right(Version::V5, 0b0100_0010) && !are_right(Version::V3, 0b0100_0010));
    }

    #[test]
    fn exactly_the_announced_fields_are_there() {
        let fields = [0, 0, 1, b'c', 0, 0, 1, b't', 0, 0, 0, 1, b'u', 0, 1, b'p'];
        let whole = packet(5, 0b1100_0110, &fields);
        assert_eq!(check(Version::V5, &whole, 2), Ok(()));
        for length in 2..whole.len() {
            assert!(check(Version::V5, &whole[..length], 2).is_err(), "{length}");
        }
        for flags in [0b1000_0110, 0b1100_0010, 0b10] {
            assert!(check(Version::V5, &packet(5, flags, &fields), 2).is_err(), "{flags:#b}");
        }
        assert_eq!(check(Version::V3, &packet(4, 0b10, &[0, 1, b'c']), 2), Ok(()));
    }

    #[test]
    fn a_refusal_is_in_words_that_the_client_may_understand() {
        assert_eq!(version(&packet(6, 0, &[]), 2), Err(Some(Version::V5)));
        assert_eq!(version(&packet(2, 0, &[]), 2), Err(Some(Version::V3)));
        assert_eq!(version(b"\x10\x0c\x00\x04HTTP\x05\x02\x00\x3c\x00\x00", 2), Err(None));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 2..200), v5 in any::<bool>()) {
            let spoken = if v5 { Version::V5 } else { Version::V3 };
            let _ = version(&bytes, 2);
            let _ = check(spoken, &bytes, 2);
            let _ = check(spoken, &packet(5, bytes[0], &bytes), 2);
        }
    }
}
