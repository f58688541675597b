//! MQTT 5.0 packets, to and from the codec's types.

use super::{Frame, frame};
use crate::denial::Why;
use crate::message::Properties;
use crate::packet::{
    Ack, AckKind, AuthStage, AuthStep, ConnAck, Connect, Options, Packet, Publish, Reply,
    RetainHandling, Version,
};
use crate::reason::Reason;
use bytes::BytesMut;
use bytestring::ByteString;
use proto::Qos;
use rmqtt_codec::error::DecodeError;
use rmqtt_codec::types::{self, QoS};
use rmqtt_codec::v5;
use std::num::NonZeroU16;
use tokio_util::codec::{Decoder, Encoder};

pub(super) fn decode(buffer: &mut BytesMut) -> Result<Packet, Reason> {
    let is_connect = buffer.first() == Some(&0x10);
    let copy = is_connect.then(|| buffer.clone());
    match (v5::Codec::default().decode(buffer), copy) {
        // Data of no method (MQTT 5.0 3.1.2.11.10).
        (Ok(Some((v5::Packet::Connect(it), _))), _)
            if it.auth_data.is_some() && it.auth_method.is_none() =>
        {
            Err(Reason::ProtocolError)
        }
        (Ok(Some((packet, _))), _) => Ok(from_codec(packet)),
        (Ok(None), _) => Err(Reason::MalformedPacket),
        (Err(DecodeError::InvalidClientId), Some(copy)) => decode_anonymous(copy),
        (Err(error), _) => Err(reason(&error)),
    }
}

/// Decodes a CONNECT without a client id that wants to go on with its session, which the codec refuses. The server
/// gives it a client id (MQTT 5.0 3.1.3-6) that no session has, so it is the same as a clean start.
fn decode_anonymous(mut packet: BytesMut) -> Result<Packet, Reason> {
    const CLEAN_START: u8 = 0b0000_0010;
    /// Protocol name and level stand before the connect flags.
    const FLAGS: usize = 7;
    let Ok(Frame::Whole { body_start, .. }) = frame(&packet, usize::MAX) else {
        return Err(Reason::MalformedPacket);
    };
    match packet.get_mut(body_start + FLAGS) {
        Some(flags) if *flags & CLEAN_START == 0 => *flags |= CLEAN_START,
        _ => return Err(Reason::ClientIdNotValid),
    }
    match v5::Codec::default().decode(&mut packet) {
        Ok(Some((packet, _))) => Ok(from_codec(packet)),
        Ok(None) => Err(Reason::MalformedPacket),
        Err(error) => Err(reason(&error)),
    }
}

/// The reason code for what the codec found (MQTT 5.0 4.13).
pub(super) fn reason(error: &DecodeError) -> Reason {
    match error {
        DecodeError::UnsupportedProtocolLevel | DecodeError::InvalidProtocol => {
            Reason::UnsupportedProtocolVersion
        }
        DecodeError::InvalidClientId => Reason::ClientIdNotValid,
        DecodeError::InvalidTopicFilter | DecodeError::PacketIdRequired => Reason::ProtocolError,
        DecodeError::InvalidTopicName => Reason::TopicNameInvalid,
        DecodeError::MaxSizeExceeded { .. } => Reason::PacketTooLarge,
        _ => Reason::MalformedPacket,
    }
}

fn from_codec(packet: v5::Packet) -> Packet {
    match packet {
        v5::Packet::Connect(it) => Packet::Connect(Box::new(connect(*it))),
        v5::Packet::Publish(it) => Packet::Publish(Box::new(publish(*it))),
        v5::Packet::PublishAck(it) => ack(AckKind::PubAck, it.packet_id, it.reason_code.into()),
        v5::Packet::PublishReceived(it) => {
            ack(AckKind::PubRec, it.packet_id, it.reason_code.into())
        }
        v5::Packet::PublishRelease(it) => ack(AckKind::PubRel, it.packet_id, it.reason_code.into()),
        v5::Packet::PublishComplete(it) => {
            ack(AckKind::PubComp, it.packet_id, it.reason_code.into())
        }
        v5::Packet::Subscribe(it) => {
            let filters =
                it.topic_filters.into_iter().map(|(filter, how)| (filter, options(how))).collect();
            Packet::Subscribe { packet_id: it.packet_id, id: it.id, filters }
        }
        v5::Packet::Unsubscribe(it) => {
            Packet::Unsubscribe { packet_id: it.packet_id, filters: it.topic_filters }
        }
        v5::Packet::PingRequest => Packet::PingReq,
        v5::Packet::Disconnect(it) => Packet::Disconnect {
            with_will: it.reason_code == v5::DisconnectReasonCode::DisconnectWithWillMessage,
            session_expiry_secs: it.session_expiry_interval_secs,
        },
        v5::Packet::Auth(it) => Packet::Auth(Box::new(AuthStep {
            stage: match it.reason_code {
                v5::AuthReasonCode::Success => AuthStage::Success,
                v5::AuthReasonCode::ContinueAuth => AuthStage::Continue,
                v5::AuthReasonCode::ReAuth => AuthStage::Again,
            },
            method: it.auth_method,
            data: it.auth_data,
        })),
        v5::Packet::ConnectAck(_)
        | v5::Packet::SubscribeAck(_)
        | v5::Packet::UnsubscribeAck(_)
        | v5::Packet::PingResponse => Packet::ServerOnly,
    }
}

fn ack(kind: AckKind, packet_id: NonZeroU16, code: u8) -> Packet {
    Packet::Ack(Ack { kind, packet_id, is_refusal: code >= 0x80 })
}

fn connect(it: v5::Connect) -> Connect {
    Connect {
        version: Version::V5,
        clean_start: it.clean_start,
        keep_alive_secs: it.keep_alive,
        client_id: it.client_id,
        user_name: it.username,
        password: it.password,
        will: it.last_will.map(|will| Box::new(self::will(will))),
        session_expiry_secs: it.session_expiry_interval_secs,
        receive_max: it.receive_max.map_or(u16::MAX, NonZeroU16::get),
        packet_bytes_max: it.max_packet_size.map(std::num::NonZeroU32::get),
        wants_words: it.request_problem_info,
        wants_response_info: it.request_response_info,
        topic_alias_max: it.topic_alias_max,
        auth_method: it.auth_method,
        auth_data: it.auth_data,
    }
}

fn will(will: v5::LastWill) -> Publish {
    Publish {
        topic: will.topic,
        payload: will.message,
        qos: qos(will.qos),
        retain: will.retain,
        properties: Properties {
            is_utf8_payload: will.is_utf8_payload.unwrap_or(false),
            content_type: will.content_type,
            response_topic: None,
            correlation_data: will.correlation_data,
            user_properties: will.user_properties,
        }
        .boxed(),
        response_topic: will.response_topic,
        expiry_secs: will.message_expiry_interval.map(std::num::NonZeroU32::get),
        delay_secs: will.will_delay_interval_sec.unwrap_or(0),
        ..Publish::default()
    }
}

pub(super) fn publish(it: types::Publish) -> Publish {
    let properties = it.properties.unwrap_or_default();
    Publish {
        topic: it.topic,
        payload: it.payload,
        qos: qos(it.qos),
        retain: it.retain,
        packet_id: it.packet_id,
        topic_alias: properties.topic_alias,
        has_subscription_id: !properties.subscription_ids.is_empty(),
        expiry_secs: properties.message_expiry_interval.map(std::num::NonZeroU32::get),
        response_topic: properties.response_topic,
        delay_secs: 0,
        properties: Properties {
            is_utf8_payload: properties.is_utf8_payload,
            content_type: properties.content_type,
            response_topic: None,
            correlation_data: properties.correlation_data,
            user_properties: properties.user_properties,
        }
        .boxed(),
    }
}

fn options(it: v5::SubscriptionOptions) -> Options {
    Options {
        qos: qos(it.qos),
        no_local: it.no_local,
        retain_as_published: it.retain_as_published,
        retain_handling: match it.retain_handling {
            v5::RetainHandling::AtSubscribe => RetainHandling::AtSubscribe,
            v5::RetainHandling::AtSubscribeNew => RetainHandling::AtNewSubscription,
            v5::RetainHandling::NoAtSubscribe => RetainHandling::Never,
        },
    }
}

pub(super) fn qos(qos: QoS) -> Qos {
    match qos {
        QoS::AtMostOnce => Qos::AtMostOnce,
        QoS::AtLeastOnce => Qos::AtLeastOnce,
        QoS::ExactlyOnce => Qos::ExactlyOnce,
    }
}

pub(super) fn codec_qos(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}

/// Encodes a reply; unless it `is_whole`, without what may be left out.
pub(super) fn encode(reply: &Reply, is_whole: bool, out: &mut BytesMut) {
    let words = |why: &Option<Why>| {
        let why = why.as_ref().filter(|_| is_whole);
        why.map(|why| ByteString::from(why.to_string()))
    };
    let packet = match reply {
        Reply::ConnAck(it) => v5::Packet::ConnectAck(Box::new(conn_ack(it, is_whole))),
        Reply::SubAck { packet_id, outcomes, why } => v5::Packet::SubscribeAck(v5::SubscribeAck {
            packet_id: *packet_id,
            properties: Vec::new(),
            reason_string: words(why),
            status: outcomes
                .iter()
                .map(|outcome| match outcome {
                    Ok(Qos::AtMostOnce) => v5::SubscribeAckReason::GrantedQos0,
                    Ok(Qos::AtLeastOnce) => v5::SubscribeAckReason::GrantedQos1,
                    Ok(Qos::ExactlyOnce) => v5::SubscribeAckReason::GrantedQos2,
                    Err(reason) => code(*reason, v5::SubscribeAckReason::UnspecifiedError),
                })
                .collect(),
        }),
        Reply::UnsubAck { packet_id, outcomes, why } => {
            v5::Packet::UnsubscribeAck(v5::UnsubscribeAck {
                packet_id: *packet_id,
                properties: Vec::new(),
                reason_string: words(why),
                status: outcomes
                    .iter()
                    .map(|outcome| match outcome {
                        Ok(true) => v5::UnsubscribeAckReason::Success,
                        Ok(false) => v5::UnsubscribeAckReason::NoSubscriptionExisted,
                        Err(reason) => code(*reason, v5::UnsubscribeAckReason::UnspecifiedError),
                    })
                    .collect(),
            })
        }
        Reply::PingResp => v5::Packet::PingResponse,
        Reply::Ack { kind, packet_id, reason, why } => {
            let words = words(why);
            return super::ack::write_with(*kind, *packet_id, *reason, words.as_deref(), out);
        }
        Reply::Auth(it) => v5::Packet::Auth(v5::Auth {
            reason_code: match it.stage {
                AuthStage::Success => v5::AuthReasonCode::Success,
                AuthStage::Continue => v5::AuthReasonCode::ContinueAuth,
                AuthStage::Again => v5::AuthReasonCode::ReAuth,
            },
            auth_method: it.method.clone(),
            auth_data: it.data.clone(),
            ..v5::Auth::default()
        }),
        Reply::Disconnect(denial) => v5::Packet::Disconnect(v5::Disconnect {
            reason_code: code(denial.reason, v5::DisconnectReasonCode::UnspecifiedError),
            reason_string: is_whole.then(|| denial.why.to_string().into()),
            ..v5::Disconnect::default()
        }),
    };
    // The sizes are ours and small; the codec refuses only packets over the limit of the protocol.
    let _ = v5::Codec::default().encode(packet, out);
}

fn conn_ack(it: &ConnAck, is_whole: bool) -> v5::ConnectAck {
    let Err(denial) = &it.outcome else {
        return v5::ConnectAck {
            session_present: it.session_present,
            session_expiry_interval_secs: it.session_expiry_secs,
            receive_max: NonZeroU16::new(it.receive_max).unwrap_or(NonZeroU16::MAX),
            max_packet_size: Some(it.packet_bytes_max),
            topic_alias_max: it.topic_alias_max,
            assigned_client_id: it.assigned_client_id.clone(),
            server_keepalive_sec: it.server_keep_alive_secs,
            response_info: it.response_info.clone().filter(|_| is_whole).map(Into::into),
            auth_method: it.auth.as_ref().map(|(method, _)| method.clone()),
            auth_data: it.auth.as_ref().and_then(|(_, data)| data.clone()),
            ..v5::ConnectAck::default()
        };
    };
    v5::ConnectAck {
        reason_code: code(denial.reason, v5::ConnectAckReason::UnspecifiedError),
        reason_string: is_whole.then(|| denial.why.to_string().into()),
        ..v5::ConnectAck::default()
    }
}

/// The codec's name of a reason code, or `other` where the packet does not know it.
fn code<T: TryFrom<u8>>(reason: Reason, other: T) -> T {
    T::try_from(reason.code()).unwrap_or(other)
}
