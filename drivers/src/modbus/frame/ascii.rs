//! The frames of a serial line in hexadecimal digits (Modbus over Serial Line 1.02, 2.5.2): `:`, unit, PDU and LRC, CR
//! and LF.

use super::{Asked, Found};

pub(super) fn encode(unit: u8, pdu: &[u8]) -> Vec<u8> {
    let body = [&[unit], pdu].concat();
    let mut bytes = vec![b':'];
    for byte in body.iter().copied().chain([lrc(&body)]) {
        bytes.extend_from_slice(format!("{byte:02X}").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

pub(super) fn find(asked: Asked, bytes: &[u8]) -> Found {
    // What comes after the last line end may become a frame yet.
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let _ = lines.next_back();
    for line in lines {
        if let Some(body) = read(line)
            && asked.begins(body[0], body[1])
        {
            return Found::Answer(body[1..].to_vec());
        }
    }
    Found::More
}

/// Unit and PDU of a line without its LF; `None` if it does not check. Bytes before its last `:` are noise.
fn read(line: &[u8]) -> Option<Vec<u8>> {
    let start = line.iter().rposition(|byte| *byte == b':')?;
    let digits = line[start + 1..].strip_suffix(b"\r")?;
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let digit = |it: u8| char::from(it).to_digit(16);
    let byte = |pair: &[u8; 2]| u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok();
    let mut body: Vec<u8> = pairs.iter().map(byte).collect::<Option<_>>()?;
    let check = body.pop()?;
    (body.len() >= 2 && lrc(&body) == check).then_some(body)
}

/// The longitudinal redundancy check (6.2.1).
fn lrc(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ASKED: Asked = Asked { transaction: 0, unit: 0x11, function: 3 };

    #[test]
    fn a_frame_in_digits() {
        assert_eq!(encode(0x11, &[3, 0, 0, 0, 2]), b":110300000002EA\r\n");
        let answer = encode(0x11, &[3, 2, 0, 1]);
        for before in
            [&b"noise\r\n:1103"[..], b":110302000100\r\n", b"\n\n:", &encode(0x12, &[3, 2, 0, 9])]
        {
            let bytes = [before, &answer].concat();
            assert_eq!(
                find(ASKED, &bytes),
                Found::Answer(vec![3, 2, 0, 1]),
                "{}",
                before.escape_ascii()
            );
            assert_eq!(find(ASKED, before), Found::More);
        }
        assert_eq!(find(ASKED, b":1183026A\r\n"), Found::Answer(vec![0x83, 2]));
        assert_eq!(find(ASKED, b":1183026a\r\n"), Found::Answer(vec![0x83, 2]), "small digits");
    }

    proptest! {
        #[test]
        fn what_goes_out_comes_in(data in proptest::collection::vec(any::<u8>(), 0..252)) {
            let pdu = [&[3], data.as_slice()].concat();
            prop_assert_eq!(find(ASKED, &encode(0x11, &pdu)), Found::Answer(pdu));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = find(ASKED, &bytes);
        }
    }
}
