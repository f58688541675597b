//! The stored form of a message that waits to go out: the length of a head, the head as JSON, the payload.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use drivers::bridge::{RemoteMessage, RemoteProperties};
use proto::{Qos, TopicName};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Head {
    topic: TopicName,
    #[serde(default, skip_serializing_if = "is_false")]
    retain: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    utf8: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response_topic: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation_data: Option<Vec<u8>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    user: Vec<(String, String)>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(it: &bool) -> bool {
    !*it
}

/// The stored form; when it expires is kept beside it.
pub(super) fn encode(message: &RemoteMessage) -> Bytes {
    let properties = &message.properties;
    let head = Head {
        topic: message.topic.clone(),
        retain: message.retain,
        utf8: properties.is_utf8_payload,
        content_type: properties.content_type.clone(),
        response_topic: properties.response_topic.clone(),
        correlation_data: properties.correlation_data.as_ref().map(|data| data.to_vec()),
        user: properties.user_properties.clone(),
    };
    // Made of texts and numbers only: serialisation has no way to fail.
    let head = serde_json::to_vec(&head).unwrap_or_default();
    let mut out = BytesMut::with_capacity(4 + head.len() + message.payload.len());
    out.put_u32(u32::try_from(head.len()).unwrap_or(u32::MAX));
    out.put_slice(&head);
    out.put_slice(&message.payload);
    out.freeze()
}

/// The message of a stored body; `None` if it is damaged.
pub(super) fn decode(mut bytes: Bytes) -> Option<RemoteMessage> {
    let length = bytes.try_get_u32().ok()? as usize;
    if length > bytes.len() {
        return None;
    }
    let head: Head = serde_json::from_slice(&bytes.split_to(length)).ok()?;
    Some(RemoteMessage {
        topic: head.topic,
        payload: bytes,
        // Only these are stored.
        qos: Qos::AtLeastOnce,
        retain: head.retain,
        properties: RemoteProperties {
            is_utf8_payload: head.utf8,
            expiry_secs: None,
            content_type: head.content_type,
            response_topic: head.response_topic,
            correlation_data: head.correlation_data.map(Bytes::from),
            user_properties: head.user,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(payload: &[u8]) -> RemoteMessage {
        RemoteMessage {
            topic: TopicName::parse("温度/1").unwrap(),
            payload: Bytes::copy_from_slice(payload),
            qos: Qos::AtLeastOnce,
            retain: true,
            properties: RemoteProperties {
                is_utf8_payload: true,
                expiry_secs: None,
                content_type: Some("text/plain".into()),
                response_topic: Some("r".into()),
                correlation_data: Some(Bytes::from_static(&[0, 255])),
                user_properties: vec![("a".into(), "b".into()), ("a".into(), "c".into())],
            },
        }
    }

    proptest! {
        #[test]
        fn what_is_stored_is_read_and_damage_is_no_panic(
            payload in proptest::collection::vec(any::<u8>(), 0..100), cut in 0usize..200,
        ) {
            let message = message(&payload);
            let stored = encode(&message);
            prop_assert_eq!(decode(stored.clone()), Some(message));
            let _ = decode(stored.slice(..cut.min(stored.len())));
            let _ = decode(Bytes::from(payload));
        }
    }
}
