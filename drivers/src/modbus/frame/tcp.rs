//! The frames of Modbus TCP (Modbus Messaging on TCP/IP 1.0b, 3.1.3): a header of seven bytes before the PDU.

use super::{Asked, Found};
use crate::modbus::pdu::PDU_BYTES_MAX;

const HEADER_BYTES: usize = 7;

pub(super) fn encode(asked: Asked, pdu: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + pdu.len());
    bytes.extend(asked.transaction.to_be_bytes());
    bytes.extend([0, 0]);
    // The unit counts; a PDU has at most 253 bytes.
    bytes.extend((pdu.len() as u16 + 1).to_be_bytes());
    bytes.push(asked.unit);
    bytes.extend_from_slice(pdu);
    bytes
}

pub(super) fn find(asked: Asked, bytes: &[u8]) -> Found {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Found::More;
    };
    let [t0, t1, p0, p1, l0, l1, unit] = *header;
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    if [p0, p1] != [0, 0] {
        return Found::Broken("a header of another protocol");
    }
    if !(2..=PDU_BYTES_MAX + 1).contains(&length) {
        return Found::Broken("a header with a length that no answer has");
    }
    if (u16::from_be_bytes([t0, t1]), unit) != (asked.transaction, asked.unit) {
        return Found::Broken("it belongs to another request");
    }
    rest.get(..length - 1).map_or(Found::More, |pdu| Found::Answer(pdu.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked = Asked { transaction: 0x1501, unit: 0x11, function: 3 };

    #[test]
    fn what_goes_out_has_a_header_and_what_comes_in_is_of_the_same_request() {
        let bytes = encode(ASKED, &[3, 0, 0x6b, 0, 3]);
        assert_eq!(bytes, [0x15, 0x01, 0, 0, 0, 6, 0x11, 3, 0, 0x6b, 0, 3]);
        for end in 0..bytes.len() {
            assert_eq!(find(ASKED, &bytes[..end]), Found::More, "{end}");
        }
        assert_eq!(find(ASKED, &bytes), Found::Answer(vec![3, 0, 0x6b, 0, 3]));
        for (place, value) in [(0, 0), (3, 1), (5, 1), (5, 255), (6, 9)] {
            let mut other = bytes.clone();
            other[place] = value;
            assert!(matches!(find(ASKED, &other), Found::Broken(_)), "{place}");
        }
    }
}
