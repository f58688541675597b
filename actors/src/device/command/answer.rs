//! What is said about commands, and where: to the device, on the result topic, to whoever asked.

use super::row::{Ended, Final, Open, ReplyTo};
use broker::Outgoing;
use proto::platform::{CommandTopic, ThingTopic};
use proto::{CommandId, CommandName, PlatformTopic, Qos, Refusal, ThingId, TimestampMs};
use serde::Serialize;
use serde_json::Value as Json;

/// What the device gets.
#[derive(Serialize)]
struct Request<'a> {
    id: &'a CommandId,
    input: &'a Json,
    /// When the platform will no longer wait for the response.
    deadline: TimestampMs,
}

/// How a command ended.
#[derive(Serialize)]
struct Result<'a> {
    id: &'a CommandId,
    status: Final,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Json>,
    t: TimestampMs,
}

/// An invocation that was not taken, and that nothing is known of.
#[derive(Serialize)]
struct Refused<'a> {
    id: &'a Json,
    status: Final,
    error: &'a Refusal,
    t: TimestampMs,
}

/// A step before the end.
#[derive(Serialize)]
struct Step<'a> {
    id: &'a CommandId,
    status: &'static str,
    t: TimestampMs,
}

/// Hands a command to the device; the broker drops it at the deadline.
pub(crate) fn request(thing: &ThingId, id: &CommandId, open: &Open, now: TimestampMs) -> Outgoing {
    let payload = Request { id, input: &open.input, deadline: open.deadline };
    let mut message = message(thing, &open.name, CommandTopic::Request, &payload);
    let left_secs = open.deadline.0.saturating_sub(now.0).div_ceil(1000);
    message.expiry_secs = Some(u32::try_from(left_secs).unwrap_or(u32::MAX));
    message
}

/// Tells how a command ended, to all and to who asked.
pub(crate) fn result(
    thing: &ThingId,
    id: &CommandId,
    ended: &Ended,
    reply: Option<&ReplyTo>,
) -> Vec<Outgoing> {
    let message = message(thing, &ended.name, CommandTopic::Result, &show(id, ended));
    let copy = reply.map(|reply| reply_with(reply, message.payload.clone()));
    std::iter::once(message).chain(copy).collect()
}

/// Tells who asks again how a command ended: on the response topic, or else where all were told.
pub(crate) fn repeated(
    thing: &ThingId,
    id: &CommandId,
    ended: &Ended,
    reply: Option<&ReplyTo>,
) -> Outgoing {
    let message = message(thing, &ended.name, CommandTopic::Result, &show(id, ended));
    match reply {
        Some(reply) => reply_with(reply, message.payload),
        None => message,
    }
}

/// Tells who asked where a command stands; `None` if there is no response topic.
pub(crate) fn step(
    id: &CommandId,
    open: &Open,
    reply: Option<&ReplyTo>,
    t: TimestampMs,
) -> Option<Outgoing> {
    let status = if open.sent.is_some() { "sent" } else { "queued" };
    // Made of texts and a number: serialisation has no way to fail.
    let payload = serde_json::to_vec(&Step { id, status, t }).unwrap_or_default();
    reply.map(|reply| reply_with(reply, payload))
}

/// Refuses an invocation that changes nothing: as its result, since who asked may have no response topic.
pub(crate) fn refused(
    (thing, name): (&ThingId, &CommandName),
    id: &Json,
    refusal: &Refusal,
    reply: Option<&ReplyTo>,
    t: TimestampMs,
) -> Vec<Outgoing> {
    let payload = Refused { id, status: Final::Rejected, error: refusal, t };
    let message = message(thing, name, CommandTopic::Result, &payload);
    let copy = reply.map(|reply| reply_with(reply, message.payload.clone()));
    std::iter::once(message).chain(copy).collect()
}

fn show<'a>(id: &'a CommandId, ended: &'a Ended) -> Result<'a> {
    let Ended { status, output, error, ended: t, .. } = ended;
    Result { id, status: *status, output: output.as_ref(), error: error.as_ref(), t: *t }
}

fn message(
    thing: &ThingId,
    name: &CommandName,
    step: CommandTopic,
    payload: &impl Serialize,
) -> Outgoing {
    let topic = PlatformTopic::thing(thing, ThingTopic::Command(name.clone(), step)).topic();
    // Made of JSON values, texts and numbers: serialisation has no way to fail.
    let payload = serde_json::to_vec(payload).unwrap_or_default();
    Outgoing::new(topic, payload).qos(Qos::AtLeastOnce)
}

fn reply_with(reply: &ReplyTo, payload: impl Into<bytes::Bytes>) -> Outgoing {
    let correlation = reply.correlation.as_ref().map(|data| bytes::Bytes::copy_from_slice(data));
    Outgoing::new(reply.topic.clone(), payload).qos(Qos::AtLeastOnce).correlation(correlation)
}
