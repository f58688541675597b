//! The properties of MQTT 5.0 (2.2.2), written and read one by one.

use bytes::{Buf as _, BytesMut};

/// A property, with its value as it is on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of MQTT 5.0, table 2-4")]
pub enum Property {
    PayloadFormatIndicator(u8),
    MessageExpiryInterval(u32),
    ContentType(String),
    ResponseTopic(String),
    CorrelationData(Vec<u8>),
    SubscriptionIdentifier(u32),
    SessionExpiryInterval(u32),
    AssignedClientIdentifier(String),
    ServerKeepAlive(u16),
    AuthenticationMethod(String),
    AuthenticationData(Vec<u8>),
    RequestProblemInformation(u8),
    WillDelayInterval(u32),
    RequestResponseInformation(u8),
    ResponseInformation(String),
    ServerReference(String),
    ReasonString(String),
    ReceiveMaximum(u16),
    TopicAliasMaximum(u16),
    TopicAlias(u16),
    MaximumQos(u8),
    RetainAvailable(u8),
    UserProperty(String, String),
    MaximumPacketSize(u32),
    WildcardSubscriptionAvailable(u8),
    SubscriptionIdentifierAvailable(u8),
    SharedSubscriptionAvailable(u8),
}

/// Properties with their length before them.
pub fn encode(properties: &[Property]) -> Vec<u8> {
    let mut body = Vec::new();
    for property in properties {
        property.write(&mut body);
    }
    let mut out = Vec::new();
    super::packet::put_length(&mut out, body.len());
    out.append(&mut body);
    out
}

/// Reads properties and their length from the front of `body`.
pub(super) fn decode(body: &mut BytesMut) -> Vec<Property> {
    let length = length(body);
    let mut body = body.split_to(length);
    let mut properties = Vec::new();
    while !body.is_empty() {
        properties.push(Property::read(&mut body));
    }
    properties
}

impl Property {
    fn write(&self, out: &mut Vec<u8>) {
        use Property as P;
        let id = self.id();
        out.push(id);
        match self {
            P::PayloadFormatIndicator(it)
            | P::RequestProblemInformation(it)
            | P::RequestResponseInformation(it)
            | P::MaximumQos(it)
            | P::RetainAvailable(it)
            | P::WildcardSubscriptionAvailable(it)
            | P::SubscriptionIdentifierAvailable(it)
            | P::SharedSubscriptionAvailable(it) => out.push(*it),
            P::ServerKeepAlive(it)
            | P::ReceiveMaximum(it)
            | P::TopicAliasMaximum(it)
            | P::TopicAlias(it) => out.extend(it.to_be_bytes()),
            P::MessageExpiryInterval(it)
            | P::SessionExpiryInterval(it)
            | P::WillDelayInterval(it)
            | P::MaximumPacketSize(it) => out.extend(it.to_be_bytes()),
            P::SubscriptionIdentifier(it) => super::packet::put_length(out, *it as usize),
            P::ContentType(it)
            | P::ResponseTopic(it)
            | P::AssignedClientIdentifier(it)
            | P::AuthenticationMethod(it)
            | P::ResponseInformation(it)
            | P::ServerReference(it)
            | P::ReasonString(it) => super::packet::binary(out, it.as_bytes()),
            P::CorrelationData(it) | P::AuthenticationData(it) => super::packet::binary(out, it),
            P::UserProperty(name, value) => {
                super::packet::binary(out, name.as_bytes());
                super::packet::binary(out, value.as_bytes());
            }
        }
    }

    fn id(&self) -> u8 {
        use Property as P;
        match self {
            P::PayloadFormatIndicator(_) => 0x01,
            P::MessageExpiryInterval(_) => 0x02,
            P::ContentType(_) => 0x03,
            P::ResponseTopic(_) => 0x08,
            P::CorrelationData(_) => 0x09,
            P::SubscriptionIdentifier(_) => 0x0B,
            P::SessionExpiryInterval(_) => 0x11,
            P::AssignedClientIdentifier(_) => 0x12,
            P::ServerKeepAlive(_) => 0x13,
            P::AuthenticationMethod(_) => 0x15,
            P::AuthenticationData(_) => 0x16,
            P::RequestProblemInformation(_) => 0x17,
            P::WillDelayInterval(_) => 0x18,
            P::RequestResponseInformation(_) => 0x19,
            P::ResponseInformation(_) => 0x1A,
            P::ServerReference(_) => 0x1C,
            P::ReasonString(_) => 0x1F,
            P::ReceiveMaximum(_) => 0x21,
            P::TopicAliasMaximum(_) => 0x22,
            P::TopicAlias(_) => 0x23,
            P::MaximumQos(_) => 0x24,
            P::RetainAvailable(_) => 0x25,
            P::UserProperty(..) => 0x26,
            P::MaximumPacketSize(_) => 0x27,
            P::WildcardSubscriptionAvailable(_) => 0x28,
            P::SubscriptionIdentifierAvailable(_) => 0x29,
            P::SharedSubscriptionAvailable(_) => 0x2A,
        }
    }

    fn read(body: &mut BytesMut) -> Self {
        match body.get_u8() {
            0x01 => Self::PayloadFormatIndicator(body.get_u8()),
            0x02 => Self::MessageExpiryInterval(body.get_u32()),
            0x03 => Self::ContentType(text(body)),
            0x08 => Self::ResponseTopic(text(body)),
            0x09 => Self::CorrelationData(bytes(body)),
            0x0B => {
                let id = u32::try_from(length(body)).expect("it has at most 28 bits");
                Self::SubscriptionIdentifier(id)
            }
            0x11 => Self::SessionExpiryInterval(body.get_u32()),
            0x12 => Self::AssignedClientIdentifier(text(body)),
            0x13 => Self::ServerKeepAlive(body.get_u16()),
            0x15 => Self::AuthenticationMethod(text(body)),
            0x16 => Self::AuthenticationData(bytes(body)),
            0x17 => Self::RequestProblemInformation(body.get_u8()),
            0x18 => Self::WillDelayInterval(body.get_u32()),
            0x19 => Self::RequestResponseInformation(body.get_u8()),
            0x1A => Self::ResponseInformation(text(body)),
            0x1C => Self::ServerReference(text(body)),
            0x1F => Self::ReasonString(text(body)),
            0x21 => Self::ReceiveMaximum(body.get_u16()),
            0x22 => Self::TopicAliasMaximum(body.get_u16()),
            0x23 => Self::TopicAlias(body.get_u16()),
            0x24 => Self::MaximumQos(body.get_u8()),
            0x25 => Self::RetainAvailable(body.get_u8()),
            0x26 => Self::UserProperty(text(body), text(body)),
            0x27 => Self::MaximumPacketSize(body.get_u32()),
            0x28 => Self::WildcardSubscriptionAvailable(body.get_u8()),
            0x29 => Self::SubscriptionIdentifierAvailable(body.get_u8()),
            0x2A => Self::SharedSubscriptionAvailable(body.get_u8()),
            other => panic!("the broker sent a property {other:#x}, which does not exist"),
        }
    }
}

fn bytes(body: &mut BytesMut) -> Vec<u8> {
    let length = usize::from(body.get_u16());
    body.split_to(length).to_vec()
}

fn text(body: &mut BytesMut) -> String {
    String::from_utf8(bytes(body)).expect("a text is UTF-8")
}

/// A variable byte integer (MQTT 5.0 1.5.5), which must not be longer than it needs to be.
fn length(body: &mut BytesMut) -> usize {
    let mut value = 0;
    for index in 0..4 {
        let byte = body.get_u8();
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            assert!(index == 0 || byte != 0, "the broker sent a length of more bytes than needed");
            return value;
        }
    }
    panic!("the broker sent a length of more than four bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let all = [
            Property::PayloadFormatIndicator(1),
            Property::SubscriptionIdentifier(300),
            Property::TopicAlias(7),
            Property::MessageExpiryInterval(9),
            Property::CorrelationData(vec![0, 1]),
            Property::UserProperty("a".into(), "b".into()),
        ];
        let written = encode(&all);
        assert_eq!(written[..6], [25, 0x01, 1, 0x0B, 0xAC, 0x02]);
        let mut body = BytesMut::from(&[&written[..], b"rest"].concat()[..]);
        assert_eq!(decode(&mut body), all);
        assert_eq!(body, "rest");
    }
}
