//! The binary frames of a serial line (Modbus over Serial Line 1.02, 2.5.1): unit, PDU and CRC.
//!
//! Nothing says where a frame ends but the silence after it, which a converter to TCP does not keep. So its length
//! follows from its function, or where that is not known, from the first check that is right.

use super::{Asked, Found};

/// Unit, CRC and at least a function code.
const FRAME_BYTES_MIN: usize = 4;
/// The longest frame.
const FRAME_BYTES_MAX: usize = 256;

pub(super) fn encode(unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut bytes = [&[unit], pdu].concat();
    let check = crc(&bytes);
    bytes.extend(check.to_le_bytes());
    bytes
}

pub(super) fn find(asked: Asked, bytes: &[u8]) -> Found {
    for start in 0..bytes.len() {
        let bytes = &bytes[start..];
        let is_one = bytes.len() >= 2 && asked.begins(bytes[0], bytes[1]);
        if is_one && let Some(pdu) = at_start(bytes) {
            return Found::Answer(pdu.to_vec());
        }
    }
    Found::More
}

/// The PDU of a frame that is whole and right.
fn at_start(bytes: &[u8]) -> Option<&[u8]> {
    match length(bytes)? {
        Length::Known(length) => checked(bytes.get(..length)?),
        Length::Unknown => {
            let lengths = FRAME_BYTES_MIN..=bytes.len().min(FRAME_BYTES_MAX);
            lengths.into_iter().find_map(|length| checked(&bytes[..length]))
        }
    }
}

fn checked(frame: &[u8]) -> Option<&[u8]> {
    let (body, check) = frame.split_last_chunk()?;
    (crc(body) == u16::from_le_bytes(*check)).then(|| body.get(1..)).flatten()
}

enum Length {
    Known(usize),
    Unknown,
}

/// How long the frame of an answer is, by its function; `None` if that is not there yet.
fn length(bytes: &[u8]) -> Option<Length> {
    let counted = |head: usize| bytes.get(head - 1).map(|count| head + usize::from(*count) + 2);
    Some(Length::Known(match *bytes.get(1)? {
        0x80.. => 5,
        0x01..=0x04 | 0x0c | 0x11 | 0x14 | 0x15 | 0x17 => counted(3)?,
        0x05 | 0x06 | 0x0b | 0x0f | 0x10 => 8,
        0x07 => 5,
        0x16 => 10,
        0x18 => {
            let count = bytes.get(2..4)?;
            4 + usize::from(u16::from_be_bytes([count[0], count[1]])) + 2
        }
        _ => return Some(Length::Unknown),
    }))
}

/// The cyclic redundancy check (6.2.2).
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xffff, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| match crc & 1 {
            0 => crc >> 1,
            _ => crc >> 1 ^ 0xa001,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asked(unit: u8, function: u8) -> Asked {
        Asked { transaction: 0, unit, function }
    }

    /// Reading holding registers 0 and 1 of unit 17.
    #[test]
    fn a_request_has_its_check() {
        let bytes = encode(0x11, &[3, 0, 0, 0, 2]);
        assert_eq!(bytes, [0x11, 0x03, 0x00, 0x00, 0x00, 0x02, 0xc6, 0x9b]);
    }

    #[test]
    fn an_answer_of_any_function_is_found_when_it_is_whole() {
        for pdu in [
            &[0x03_u8, 2, 0, 1][..],
            &[0x01, 1, 0xff],
            &[0x06, 0, 1, 0, 3],
            &[0x07, 0x6d],
            &[0x11, 3, 7, 0xff, 65],
            &[0x14, 6, 5, 6, 0x0d, 0xfe, 0, 0x20],
            &[0x15, 9, 6, 0, 4, 0, 7, 0, 1, 6, 0xaf],
            &[0x16, 0, 4, 0, 0xf2, 0, 0x25],
            &[0x17, 2, 0, 1],
            &[0x18, 0, 4, 0, 1, 1, 0xb8],
            b"\x2b\x0e\x01\x81\x00\x00\x01\x00\x03ACM",
            &[0x41, 1, 2, 3],
            &[0x83, 2],
        ] {
            let bytes = encode(5, pdu);
            let asked = asked(5, pdu[0] & 0x7f);
            for end in 0..bytes.len() {
                assert_eq!(find(asked, &bytes[..end]), Found::More, "{pdu:x?} cut at {end}");
            }
            assert_eq!(find(asked, &bytes), Found::Answer(pdu.to_vec()), "{pdu:x?}");
        }
    }

    #[test]
    fn what_is_no_answer_of_the_unit_is_let_go() {
        let answer = encode(5, &[3, 2, 0, 1]);
        let mut spoilt = answer.clone();
        spoilt[4] ^= 1;
        for before in [
            &[0x00_u8][..],
            &[5, 3],
            &[5, 3, 250],
            &encode(6, &[3, 2, 0, 9]),
            &encode(5, &[4, 2, 0, 9]),
            &spoilt,
        ] {
            let bytes = [before, &answer].concat();
            assert_eq!(find(asked(5, 3), &bytes), Found::Answer(vec![3, 2, 0, 1]), "{before:x?}");
            assert_eq!(find(asked(5, 3), before), Found::More, "{before:x?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), function: u8) {
            let unit = bytes.first().copied().unwrap_or_default();
            let _ = find(asked(unit, function & 0x7f), &bytes);
        }

        #[test]
        fn what_goes_out_comes_in(data in proptest::collection::vec(any::<u8>(), 1..252)) {
            let pdu = [&[0x41], data.as_slice()].concat();
            let mut bytes = encode(1, &pdu);
            bytes.insert(0, 0);
            // A check may be right by chance before the end, once in 65 536 places.
            let found = find(asked(1, 0x41), &bytes);
            prop_assert!(matches!(found, Found::Answer(found) if pdu.starts_with(&found)));
        }
    }
}
