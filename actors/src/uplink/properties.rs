//! The MQTT 5.0 properties of a message as a record carries them: JSON, and for nearly every message nothing at all.

use broker::{Outgoing, Properties, Recorded};
use bytes::Bytes;
use proto::TimestampMs;
use proto::TopicName;
use serde::{Deserialize, Serialize};

/// The property that tells subscribers of a value that may be older than what is retained: one that waited, or that a
/// machine had kept while it was away.
pub(crate) const HISTORICAL: &str = "historical";

/// Whether a message has it.
pub(crate) fn is_historical(properties: Option<&Properties>) -> bool {
    properties.is_some_and(|it| it.user_properties.iter().any(|(name, _)| name == HISTORICAL))
}

#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Carried {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    utf8: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_topic: Option<TopicName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation: Option<Vec<u8>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    user: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<TimestampMs>,
}

/// Those of a message; empty if it has none.
pub(super) fn encode(message: &Recorded<'_>) -> Bytes {
    if message.properties.is_none() && message.expires_at.is_none() {
        return Bytes::new();
    }
    let mut carried = Carried { expires_at: message.expires_at, ..Carried::default() };
    if let Some(it) = message.properties {
        let user = it.user_properties.iter();
        carried.utf8 = it.is_utf8_payload;
        carried.content_type = it.content_type.as_ref().map(ToString::to_string);
        carried.response_topic = it.response_topic.clone();
        carried.correlation = it.correlation_data.as_ref().map(|data| data.to_vec());
        carried.user = user.map(|(name, value)| (name.to_string(), value.to_string())).collect();
    }
    Bytes::from(serde_json::to_vec(&carried).unwrap_or_default())
}

/// Gives a message those that a record carries; `false` if its time is over. Unknown ones are left out.
pub(crate) fn apply(carried: &Bytes, now: TimestampMs, message: &mut Outgoing) -> bool {
    if carried.is_empty() {
        return true;
    }
    let Ok(carried) = serde_json::from_slice::<Carried>(carried) else { return true };
    let user = carried.user.into_iter();
    message.properties = Properties {
        is_utf8_payload: carried.utf8,
        content_type: carried.content_type.map(Into::into),
        response_topic: carried.response_topic,
        correlation_data: carried.correlation.map(Bytes::from),
        user_properties: user.map(|(name, value)| (name.into(), value.into())).collect(),
    };
    let left_ms = carried.expires_at.map(|at| at.0.saturating_sub(now.0));
    let secs = |left_ms: u64| u32::try_from(left_ms.div_ceil(1000)).unwrap_or(u32::MAX);
    message.expiry_secs = left_ms.map(secs);
    left_ms != Some(0)
}
