//! What the platform says to whom it refused something: the refusal of a failed commit, the PUBACK
//! of a message that a device sent in vain, and the event of it.

use broker::{Delivery, Outgoing, Reason};
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

/// Gives a refused message back to who sent it: with MQTT 5.0 the PUBACK says why. Others find it in
/// the event of [`message`].
pub(crate) fn send_back(delivery: Delivery, refusal: &Refusal) {
    delivery.refuse(reason(refusal.code), &words(refusal));
}

fn words(refusal: &Refusal) -> String {
    match &refusal.field {
        Some(field) => format!("{refusal} (field `{field}`)"),
        None => refusal.to_string(),
    }
}

/// The reason code of a PUBACK (MQTT 5.0 3.4.2.1) that comes closest.
fn reason(code: RefusalCode) -> Reason {
    match code {
        RefusalCode::BadRequest | RefusalCode::Invalid | RefusalCode::UnsupportedEncoding => {
            Reason::PayloadFormatInvalid
        }
        RefusalCode::Unauthorized | RefusalCode::Forbidden => Reason::NotAuthorized,
        RefusalCode::TooLarge | RefusalCode::TooManyRequests | RefusalCode::QuotaExceeded => {
            Reason::QuotaExceeded
        }
        RefusalCode::NotFound
        | RefusalCode::UnknownOperation
        | RefusalCode::AlreadyExists
        | RefusalCode::VersionConflict
        | RefusalCode::Unavailable
        | RefusalCode::TimedOut => Reason::ImplementationSpecificError,
        RefusalCode::Internal => Reason::UnspecifiedError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_code_of_puback_and_names_its_field() {
        // What MQTT 5.0 allows in a PUBACK that says no.
        let allowed = [0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
        for code in RefusalCode::ALL {
            assert!(allowed.contains(&reason(code).code()), "{code}");
        }
        let refusal = Refusal::new(RefusalCode::Invalid, "no number").at("a.b");
        assert_eq!(words(&refusal), "invalid: no number (field `a.b`)");
    }
}
