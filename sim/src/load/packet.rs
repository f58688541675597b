//! The few MQTT 3.1.1 packets that a load needs, as bytes.
//!
//! Deliberately not a client library and not the codec of the broker: a generator that shared code
//! with its target would share its mistakes and its costs. PUBLISH packets are encoded once and
//! patched in place (see [`super::batch`]). The parser borrows from the read buffer, checks lengths
//! and nothing else, and never panics on foreign bytes. MQTT 3.1.1 sections 2.2 and 3.

/// Largest remaining length that MQTT can express (section 2.2.3).
pub const REMAINING_LENGTH_MAX: usize = 268_435_455;

/// DISCONNECT, always the same two bytes.
pub const DISCONNECT: [u8; 2] = [0xE0, 0];

/// User name and password of a CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name.
    pub user: String,
    /// The password.
    pub secret: String,
}

/// A packet from the target, as far as a load cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// CONNACK with its return code, 0 for accepted.
    ConnAck {
        /// The return code of section 3.2.2.3.
        code: u8,
    },
    /// SUBACK of one filter.
    SubAck {
        /// Granted QoS, or 0x80 for a failure.
        code: u8,
    },
    /// PUBLISH; the topic is skipped.
    Publish {
        /// Present for QoS 1 and 2.
        packet_id: Option<u16>,
        /// The application message.
        payload: &'a [u8],
    },
    /// PUBACK; the packet identifier is not looked at.
    PubAck,
    /// Any other packet, by its type.
    Other(u8),
}

/// Bytes that are not an MQTT packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The remaining length has no end or exceeds what the buffer can ever hold.
    #[error("packet of more than {bytes_max} bytes")]
    TooLong {
        /// The limit in bytes.
        bytes_max: usize,
    },
    /// The packet ends before its fields do.
    #[error("packet of type {packet_type} is too short")]
    TooShort {
        /// The MQTT packet type, 1 to 15.
        packet_type: u8,
    },
}

/// Encodes a CONNECT without a will and with the longest keep alive, so that no pings are needed.
#[must_use]
pub fn connect(client_id: &str, credentials: Option<&Credentials>, is_clean: bool) -> Vec<u8> {
    let mut body = Vec::with_capacity(64);
    put_string(&mut body, "MQTT");
    body.push(4);
    let clean = u8::from(is_clean) << 1;
    body.push(clean | if credentials.is_some() { 0xC0 } else { 0 });
    body.extend_from_slice(&u16::MAX.to_be_bytes());
    put_string(&mut body, client_id);
    if let Some(credentials) = credentials {
        put_string(&mut body, &credentials.user);
        put_string(&mut body, &credentials.secret);
    }
    with_header(0x10, &body)
}

/// Encodes a SUBSCRIBE of one filter.
#[must_use]
pub fn subscribe(packet_id: u16, filter: &str, qos: u8) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    put_string(&mut body, filter);
    body.push(qos);
    with_header(0x82, &body)
}

/// Encodes a PUBACK.
#[must_use]
pub fn puback(packet_id: u16) -> [u8; 4] {
    let [high, low] = packet_id.to_be_bytes();
    [0x40, 2, high, low]
}

/// A PUBLISH with a zero payload, and where its changing parts are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishTemplate {
    /// The whole packet.
    pub bytes: Vec<u8>,
    /// Offset of the packet identifier, for QoS 1.
    pub packet_id_at: Option<usize>,
    /// Offset of the payload.
    pub payload_at: usize,
}

/// Encodes a PUBLISH of `payload_bytes` zeros at QoS 0 or 1.
#[must_use]
pub fn publish(topic: &str, qos: u8, payload_bytes: usize) -> PublishTemplate {
    let mut body = Vec::with_capacity(topic.len() + payload_bytes + 4);
    put_string(&mut body, topic);
    let id_in_body = (qos > 0).then_some(body.len());
    if qos > 0 {
        body.extend_from_slice(&[0, 1]);
    }
    let payload_in_body = body.len();
    body.resize(payload_in_body + payload_bytes, 0);
    let bytes = with_header(0x30 | (qos << 1), &body);
    let header_bytes = bytes.len() - body.len();
    PublishTemplate {
        packet_id_at: id_in_body.map(|at| at + header_bytes),
        payload_at: payload_in_body + header_bytes,
        bytes,
    }
}

/// Parses the first packet of `bytes`: the packet and its length, or nothing when it is incomplete.
pub fn parse(bytes: &[u8], bytes_max: usize) -> Result<Option<(Packet<'_>, usize)>, Malformed> {
    let Some((remaining, header_bytes)) = remaining_length(bytes)? else {
        return Ok(None);
    };
    let packet_bytes = header_bytes + remaining;
    if packet_bytes > bytes_max {
        return Err(Malformed::TooLong { bytes_max });
    }
    let Some(body) = bytes.get(header_bytes..packet_bytes) else {
        return Ok(None);
    };
    let packet =
        parse_body(bytes[0], body).ok_or(Malformed::TooShort { packet_type: bytes[0] >> 4 })?;
    Ok(Some((packet, packet_bytes)))
}

/// The remaining length and the length of the fixed header, or nothing when it is incomplete.
fn remaining_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut remaining = 0;
    for index in 0..4 {
        let Some(&byte) = bytes.get(index + 1) else {
            return Ok(None);
        };
        remaining |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((remaining, index + 2)));
        }
    }
    Err(Malformed::TooLong { bytes_max: REMAINING_LENGTH_MAX })
}

fn parse_body(first: u8, body: &[u8]) -> Option<Packet<'_>> {
    let packet = match first >> 4 {
        2 => Packet::ConnAck { code: *body.get(1)? },
        3 => return parse_publish(first, body),
        4 => Packet::PubAck,
        9 => Packet::SubAck { code: *body.get(2)? },
        other => Packet::Other(other),
    };
    Some(packet)
}

fn parse_publish(first: u8, body: &[u8]) -> Option<Packet<'_>> {
    let topic_bytes = usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
    let rest = body.get(2 + topic_bytes..)?;
    if first & 0x06 == 0 {
        return Some(Packet::Publish { packet_id: None, payload: rest });
    }
    let packet_id = Some(u16::from_be_bytes([*rest.first()?, *rest.get(1)?]));
    Some(Packet::Publish { packet_id, payload: &rest[2..] })
}

/// Callers keep strings below 65,536 bytes: they are generated or checked by the options.
fn put_string(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&(text.len() as u16).to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

fn with_header(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 5);
    bytes.push(first);
    let mut remaining = body.len();
    loop {
        let low = (remaining & 0x7F) as u8;
        remaining >>= 7;
        if remaining == 0 {
            bytes.push(low);
            break;
        }
        bytes.push(low | 0x80);
    }
    bytes.extend_from_slice(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_is_what_the_specification_says() {
        let plain = connect("c", None, true);
        assert_eq!(plain, b"\x10\x0d\x00\x04MQTT\x04\x02\xff\xff\x00\x01c");
        let credentials = Credentials { user: "u".into(), secret: "pw".into() };
        let full = connect("c", Some(&credentials), false);
        assert_eq!(full, b"\x10\x14\x00\x04MQTT\x04\xc0\xff\xff\x00\x01c\x00\x01u\x00\x02pw");
    }

    #[test]
    fn subscribe_and_puback_are_what_the_specification_says() {
        assert_eq!(subscribe(7, "a/+", 1), b"\x82\x08\x00\x07\x00\x03a/+\x01");
        assert_eq!(puback(0x1234), [0x40, 2, 0x12, 0x34]);
    }

    #[test]
    fn a_published_packet_parses_to_its_payload_at_every_length() {
        for payload_bytes in [0, 1, 119, 120, 16_000, 20_000, 2_200_000] {
            for qos in [0, 1] {
                let mut template = publish("a/b", qos, payload_bytes);
                if let Some(at) = template.packet_id_at {
                    template.bytes[at..at + 2].copy_from_slice(&[0xAB, 0xCD]);
                }
                template.bytes[template.payload_at..].fill(9);
                let (packet, len) = parse(&template.bytes, 3_000_000).unwrap().unwrap();
                assert_eq!(len, template.bytes.len());
                let payload = vec![9; payload_bytes];
                let packet_id = (qos == 1).then_some(0xABCD);
                assert_eq!(packet, Packet::Publish { packet_id, payload: &payload });
            }
        }
    }

    #[test]
    fn every_prefix_of_a_packet_is_incomplete() {
        let bytes = publish("topic", 1, 300).bytes;
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end], 1000), Ok(None));
        }
    }

    #[test]
    fn acknowledgements_parse_to_their_codes() {
        let parsed = |bytes| parse(bytes, 100).map(|it| it.map(|(packet, _)| packet));
        assert_eq!(parsed(&[0x20, 2, 0, 5]), Ok(Some(Packet::ConnAck { code: 5 })));
        assert_eq!(parsed(&[0x90, 3, 0, 1, 0x80]), Ok(Some(Packet::SubAck { code: 0x80 })));
        assert_eq!(parsed(&[0x40, 2, 0, 1]), Ok(Some(Packet::PubAck)));
        assert_eq!(parsed(&[0xD0, 0]), Ok(Some(Packet::Other(13))));
    }

    #[test]
    fn malformed_bytes_are_refused() {
        let endless = [0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
        assert!(matches!(parse(&endless, 100), Err(Malformed::TooLong { .. })));
        let large = [0x30, 0xFF, 0x01];
        assert_eq!(parse(&large, 100), Err(Malformed::TooLong { bytes_max: 100 }));
        for short in [&[0x20, 1, 0][..], &[0x30, 0], &[0x30, 2, 0, 9], &[0x32, 3, 0, 0, 1]] {
            assert!(matches!(parse(short, 100), Err(Malformed::TooShort { .. })), "{short:?}");
        }
    }

    #[test]
    fn any_short_input_is_parsed_without_a_panic() {
        let mut state: u32 = 1;
        for _ in 0..100_000 {
            let mut bytes = [0_u8; 12];
            for byte in &mut bytes {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = (state >> 24) as u8;
            }
            let _ = parse(&bytes, 64);
        }
    }
}
