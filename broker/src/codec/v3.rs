//! MQTT 3.1 and 3.1.1 packets, to and from the codec's types.

use super::{Frame, frame};
use crate::packet::{Ack, AckKind, Connect, Options, Packet, Publish, Reply, Version};
use crate::reason::Reason;
use bytes::BytesMut;
use rmqtt_codec::v3::{self, ConnectAckReason, SubscribeReturnCode};
use std::num::NonZeroU16;
use tokio_util::codec::{Decoder, Encoder};

/// A session of these versions that is not clean outlives its connection for ever (MQTT 3.1.1 3.1.2.4).
const NEVER_EXPIRES: u32 = u32::MAX;

pub(super) fn decode(buffer: &mut BytesMut) -> Result<Packet, Reason> {
    check_requested_qos(buffer)?;
    match v3::Codec::default().decode(buffer) {
        // MQTT 3.1 has no client without a name.
        Ok(Some((v3::Packet::Connect(it), _))) if it.protocol.0 == 3 && it.client_id.is_empty() => {
            Err(Reason::ClientIdNotValid)
        }
        Ok(Some((packet, _))) => Ok(from_codec(packet)),
        Ok(None) => Err(Reason::MalformedPacket),
        Err(error) => Err(super::v5::reason(&error)),
    }
}

/// The upper bits beside each QoS of a SUBSCRIBE are reserved (MQTT 3.1.1 3.8.3-4); the codec passes them over.
fn check_requested_qos(packet: &[u8]) -> Result<(), Reason> {
    const SUBSCRIBE: u8 = 0x82;
    let Ok(Frame::Whole { first_byte: SUBSCRIBE, body_start, .. }) = frame(packet, usize::MAX)
    else {
        return Ok(());
    };
    let mut rest = packet.get(body_start + 2..).unwrap_or_default();
    while let Some((&length, behind)) = rest.split_first_chunk() {
        let filter_bytes = usize::from(u16::from_be_bytes(length));
        match behind.get(filter_bytes) {
            Some(0..=2) => rest = &behind[filter_bytes + 1..],
            _ => return Err(Reason::MalformedPacket),
        }
    }
    Ok(())
}

fn from_codec(packet: v3::Packet) -> Packet {
    match packet {
        v3::Packet::Connect(it) => Packet::Connect(Box::new(connect(*it))),
        v3::Packet::Publish(it) => Packet::Publish(Box::new(super::v5::publish(*it))),
        v3::Packet::PublishAck { packet_id } => ack(AckKind::PubAck, packet_id),
        v3::Packet::PublishReceived { packet_id } => ack(AckKind::PubRec, packet_id),
        v3::Packet::PublishRelease { packet_id } => ack(AckKind::PubRel, packet_id),
        v3::Packet::PublishComplete { packet_id } => ack(AckKind::PubComp, packet_id),
        v3::Packet::Subscribe { packet_id, topic_filters } => {
            let options = |qos| Options { qos: super::v5::qos(qos), ..Options::default() };
            let filters =
                topic_filters.into_iter().map(|(filter, qos)| (filter, options(qos))).collect();
            Packet::Subscribe { packet_id, id: None, filters }
        }
        v3::Packet::Unsubscribe { packet_id, topic_filters } => {
            Packet::Unsubscribe { packet_id, filters: topic_filters }
        }
        v3::Packet::PingRequest => Packet::PingReq,
        v3::Packet::Disconnect => {
            Packet::Disconnect { with_will: false, session_expiry_secs: None }
        }
        v3::Packet::ConnectAck(_)
        | v3::Packet::SubscribeAck { .. }
        | v3::Packet::UnsubscribeAck { .. }
        | v3::Packet::PingResponse => Packet::ServerOnly,
    }
}

fn ack(kind: AckKind, packet_id: NonZeroU16) -> Packet {
    Packet::Ack(Ack { kind, packet_id, is_refusal: false })
}

fn connect(it: v3::Connect) -> Connect {
    Connect {
        version: Version::V3,
        clean_start: it.clean_session,
        keep_alive_secs: it.keep_alive,
        client_id: it.client_id,
        user_name: it.username,
        password: it.password,
        will: it.last_will.map(|will| {
            Box::new(Publish {
                topic: will.topic,
                payload: will.message,
                qos: super::v5::qos(will.qos),
                retain: will.retain,
                ..Publish::default()
            })
        }),
        session_expiry_secs: if it.clean_session { 0 } else { NEVER_EXPIRES },
        receive_max: u16::MAX,
        packet_bytes_max: None,
        wants_words: false,
        wants_response_info: false,
        topic_alias_max: 0,
        auth_method: None,
        auth_data: None,
    }
}

pub(super) fn encode(reply: &Reply, out: &mut BytesMut) {
    let packet = match reply {
        Reply::ConnAck(it) => {
            let return_code = match &it.outcome {
                Ok(()) => Some(ConnectAckReason::ConnectionAccepted),
                Err(denial) => return_code(denial.reason),
            };
            let Some(return_code) = return_code else { return };
            let session_present = it.session_present;
            v3::Packet::ConnectAck(v3::ConnectAck { return_code, session_present })
        }
        Reply::SubAck { packet_id, outcomes, .. } => {
            let status = outcomes
                .iter()
                .map(|outcome| match outcome {
                    Ok(qos) => SubscribeReturnCode::Success(super::v5::codec_qos(*qos)),
                    Err(_) => SubscribeReturnCode::Failure,
                })
                .collect();
            v3::Packet::SubscribeAck { packet_id: *packet_id, status }
        }
        Reply::UnsubAck { packet_id, .. } => v3::Packet::UnsubscribeAck { packet_id: *packet_id },
        Reply::PingResp => v3::Packet::PingResponse,
        // A server of these versions just closes; acknowledgements are written elsewhere.
        Reply::Auth(_) | Reply::Disconnect(_) | Reply::Ack { .. } => return,
    };
    // The sizes are ours and small; the codec refuses only packets over the limit of the protocol.
    let _ = v3::Codec::default().encode(packet, out);
}

/// CONNACK return codes (MQTT 3.1.1 3.2.2.3). A CONNECT that does not conform gets no CONNACK (3.1.4-1, 3.2.2-6).
fn return_code(reason: Reason) -> Option<ConnectAckReason> {
    Some(match reason {
        Reason::UnsupportedProtocolVersion => ConnectAckReason::UnacceptableProtocolVersion,
        Reason::ClientIdNotValid => ConnectAckReason::IdentifierRejected,
        Reason::BadUserNameOrPassword => ConnectAckReason::BadUserNameOrPassword,
        Reason::NotAuthorized | Reason::Banned => ConnectAckReason::NotAuthorized,
        Reason::MalformedPacket
        | Reason::ProtocolError
        | Reason::PacketTooLarge
        | Reason::TopicNameInvalid => return None,
        _ => ConnectAckReason::ServiceUnavailable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_bits_beside_the_requested_qos_are_refused() {
        let subscribe = |qos: u8| BytesMut::from(&[0x82, 6, 0, 1, 0, 1, b'a', qos][..]);
        for qos in [0, 1, 2] {
            assert!(matches!(decode(&mut subscribe(qos)), Ok(Packet::Subscribe { .. })), "{qos}");
        }
        for qos in [3, 4, 0x80, 0xC0] {
            assert!(decode(&mut subscribe(qos)).is_err(), "{qos}");
        }
        let cut_short = [0x82, 5, 0, 1, 0, 1, b'a'];
        assert!(decode(&mut BytesMut::from(&cut_short[..])).is_err());
    }
}
