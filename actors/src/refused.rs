//! What the platform says to whom it refused something: the refusal of a failed commit, and the
//! event of a message that a device sent in vain.

use broker::Outgoing;
use proto::platform::EventTopic;
use proto::{PlatformTopic, Qos, Refusal, RefusalCode, ThingId, TimestampMs, TopicName};
use serde::Serialize;
use store::CommitError;

/// The payload of `events/rejected/<thing>`.
#[derive(Debug, Serialize)]
struct Rejection<'a> {
    t: TimestampMs,
    topic: &'a TopicName,
    #[serde(flatten)]
    refusal: &'a Refusal,
}

/// Why a change was not kept, as its caller is told.
pub(crate) fn by_store(error: &CommitError) -> Refusal {
    let code = match error {
        CommitError::DiskFull => RefusalCode::QuotaExceeded,
        CommitError::Overloaded => RefusalCode::TooManyRequests,
        CommitError::Closed => RefusalCode::Unavailable,
        CommitError::Io(_) => RefusalCode::Internal,
    };
    Refusal::new(code, error.to_string())
}

/// The event that tells what a device sent in vain, and why.
pub(crate) fn message(
    thing: &ThingId,
    topic: &TopicName,
    refusal: &Refusal,
    t: TimestampMs,
) -> Outgoing {
    let event = PlatformTopic::Event(EventTopic::Rejected(thing.clone())).topic();
    // Made of texts and numbers only: serialisation has no way to fail.
    let payload = serde_json::to_vec(&Rejection { t, topic, refusal }).unwrap_or_default();
    Outgoing::new(event, payload).qos(Qos::AtLeastOnce)
}
