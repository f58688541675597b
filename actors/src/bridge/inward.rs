//! From the remote broker into this namespace: what becomes of a message that has come.

use super::account::InAccount;
use super::mapping::Mapping;
use broker::{Outgoing, Properties};
use drivers::bridge::{LinkAck, Received, RemoteMessage, RemoteProperties};
use proto::platform::{EventTopic, crossing};
use proto::{PlatformTopic, TopicName, hops};
use serde::Deserialize;

/// What has come and waits for one commit.
#[derive(Default)]
pub(super) struct Arrivals {
    pub(super) messages: Vec<Outgoing>,
    /// To be sent when it is committed.
    pub(super) acks: Vec<LinkAck>,
}

/// The side of a bridge that comes in.
#[derive(Default)]
pub(super) struct Inward {
    pub(super) account: InAccount,
    pub(super) origin: String,
    /// The name of the other namespace on paths, if it is one of ours and has said it.
    pub(super) remote_origin: Option<String>,
    pub(super) hops_max: usize,
}

/// What a bridge of the remote broker says of itself, as far as it matters here.
#[derive(Deserialize)]
struct Introduction {
    origin: String,
}

impl Inward {
    /// Takes a message in: to be published, or dropped and then acknowledged at once, which is what is returned.
    pub(super) fn take(
        &mut self,
        mapping: &Mapping,
        received: Received,
        arrivals: &mut Arrivals,
    ) -> Option<LinkAck> {
        let Received { message, ack } = received;
        if let Some(message) = &message
            && self.is_introduction(message)
        {
            return Some(ack);
        }
        self.account.received += 1;
        let Some(message) = message else {
            self.account.dropped.topic += 1;
            return Some(ack);
        };
        match self.arrival(mapping, message) {
            Some(outgoing) => {
                self.account.pending += 1;
                arrivals.messages.push(outgoing);
                arrivals.acks.push(ack);
                None
            }
            None => Some(ack),
        }
    }

    /// Bridges say the name of their namespace in their status; it is for us and goes no further.
    fn is_introduction(&mut self, message: &RemoteMessage) -> bool {
        let topic = PlatformTopic::parse(&message.topic);
        if !matches!(topic, Some(PlatformTopic::Event(EventTopic::Bridge(_)))) {
            return false;
        }
        if let Ok(Introduction { origin }) = serde_json::from_slice(&message.payload)
            && origin != self.origin
            && is_origin(&origin)
        {
            self.remote_origin = Some(origin);
        }
        true
    }

    fn arrival(&mut self, mapping: &Mapping, message: RemoteMessage) -> Option<Outgoing> {
        let dropped = &mut self.account.dropped;
        let user = &message.properties.user_properties;
        let path = hops::path_of(user.iter().map(|(name, value)| (name, value)));
        let path = match (path, &self.remote_origin) {
            (path, Some(remote)) if !path.is_some_and(|it| hops::leads_through(it, remote)) => {
                Some(hops::after(path, remote))
            }
            (path, _) => path.map(str::to_owned),
        };
        if let Some(path) = &path {
            if hops::leads_through(path, &self.origin) {
                dropped.looped += 1;
                return None;
            }
            if hops::length(path) > self.hops_max {
                dropped.hops += 1;
                return None;
            }
        }
        let Ok(way) = mapping.inward(&message.topic) else {
            dropped.topic += 1;
            return None;
        };
        if !crossing::may_enter(&way.topic) {
            dropped.forbidden += 1;
            return None;
        }
        let RemoteMessage { payload, qos, retain, properties, .. } = message;
        let expiry_secs = properties.expiry_secs;
        Some(Outgoing {
            topic: way.topic,
            payload,
            qos: qos.min(way.qos_max),
            retain: retain && way.passes_retain,
            properties: properties_of(properties, path),
            expiry_secs,
        })
    }

    /// The commit of arrivals has ended.
    pub(super) fn settle(&mut self, count: usize, is_committed: bool) {
        let count = count as u64;
        self.account.pending -= count;
        if is_committed {
            self.account.published += count;
        } else {
            self.account.returned += count;
        }
    }
}

/// The filter of what bridges of a remote broker say of themselves.
pub(super) fn introductions() -> proto::TopicFilter {
    proto::platform::filters::bridge_events()
}

/// The form that names of namespaces on paths have.
fn is_origin(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|it| it.is_ascii_hexdigit())
}

fn properties_of(it: RemoteProperties, path: Option<String>) -> Properties {
    let others = it.user_properties.into_iter().filter(|(name, _)| name != hops::PATH_PROPERTY);
    let path = path.map(|path| (hops::PATH_PROPERTY.to_owned(), path));
    Properties {
        is_utf8_payload: it.is_utf8_payload,
        content_type: it.content_type.map(Into::into),
        response_topic: it.response_topic.and_then(|topic| TopicName::parse(topic).ok()),
        correlation_data: it.correlation_data,
        user_properties: others
            .chain(path)
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
    }
}
