//! Every topic that the platform itself owns, as one enum: parsed here, written here, nowhere else.
//!
//! [`PlatformTopic::parse`] reads a topic name of a namespace; `None` is a free topic, which belongs to its users.
//! [`PlatformTopic::topic`] writes it. [`crossing`] says what a bridge may carry. [`filters`] holds the filters that
//! the platform and the roles subscribe with. The roots are those of the public contract: `uns`, `things`,
//! `$aws/things`, `edges`, `admin`, `events`, `clients`; `$SYS` is the broker's.

pub mod crossing;
mod edge;
pub mod filters;
pub mod sys;
mod thing;

pub use edge::{EdgeTopic, ThingNews};
pub use thing::{CommandTopic, JobTopic, ShadowTopic, ShadowVerb, Stage, ThingRoot, ThingTopic};

use crate::id::{AdminWord, BridgeId, ClientId, EdgeId, Id, RequestId, RuleId, ThingId, kind};
use crate::topic::TopicName;
use crate::uns::UnsPath;

/// First levels that the platform keeps to itself: a topic below them that is none of its own is nobody's.
const KEPT_ROOTS: [&str; 9] =
    ["uns", "things", "edges", "admin", "events", "clients", "$SYS", "$aws", "$share"];

/// Whether a topic is below no root of the platform. Others that begin with `$` are as free as any: devices made for
/// other servers have such topics. `#` passes them by (MQTT 5.0 4.7.2), so that they are for whoever names them.
pub fn is_free(name: &TopicName) -> bool {
    !KEPT_ROOTS.contains(&name.levels().next().unwrap_or_default())
}

/// A topic that the platform owns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PlatformTopic {
    /// `uns/<path>`: the current value, retained.
    Uns(UnsPath),
    /// `uns/<path>/set`: a request to write it.
    UnsSet(UnsPath),
    /// `uns/<path>/set/result`: the answer to a write.
    UnsSetResult(UnsPath),
    /// `things/<thing>/…` or its alias.
    Thing {
        /// Which of the two roots.
        root: ThingRoot,
        /// The device.
        thing: ThingId,
        /// What follows.
        topic: ThingTopic,
    },
    /// `edges/<edge>/…`.
    Edge {
        /// The edge node.
        edge: EdgeId,
        /// What follows.
        topic: EdgeTopic,
    },
    /// `admin/<resource>/<verb>` with or without `/<request id>`.
    Admin {
        /// Such as `things`.
        resource: AdminWord,
        /// Such as `create`.
        verb: AdminWord,
        /// The level that asks for the answer on [`PlatformTopic::Reply`].
        request_id: Option<RequestId>,
    },
    /// `clients/<client id>/reply/<request id>`.
    Reply {
        /// A client id that is one topic level.
        client: Id<kind::Request>,
        /// The request answered.
        request_id: RequestId,
    },
    /// `events/…`.
    Event(EventTopic),
}

/// What happened, below `events/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EventTopic {
    /// `events/clients/connected`.
    ClientConnected,
    /// `events/clients/disconnected`.
    ClientDisconnected,
    /// `events/clients/listening`: a device has subscribed to requests of its commands.
    ClientListening,
    /// `events/clients/refused`: not let in.
    ClientRefused,
    /// `events/things/<thing>`: registered, changed or deleted.
    Thing(ThingId),
    /// `events/rejected/<thing>`: what a device sent and the platform refused.
    Rejected(ThingId),
    /// `events/bridges/<bridge>`: state and accounts of a bridge, retained.
    Bridge(BridgeId),
    /// `events/edges/<edge>`: an edge node came, went, was adopted, or had to drop records.
    Edge(EdgeId),
    /// `events/rules/<rule>`: a rule has acted, or could not.
    Rule(RuleId),
}

impl PlatformTopic {
    /// Reads a topic name; `None` if the platform does not own it.
    pub fn parse(name: &TopicName) -> Option<Self> {
        let text = name.as_str();
        let (root, rest) = text.split_once('/')?;
        match root {
            "uns" => parse_uns(rest),
            "things" => thing::parse(ThingRoot::Things, rest),
            "$aws" => thing::parse(ThingRoot::Aws, rest.strip_prefix("things/")?),
            "edges" => {
                let (edge, rest) = rest.split_once('/')?;
                Some(Self::Edge { edge: EdgeId::parse(edge).ok()?, topic: EdgeTopic::parse(rest)? })
            }
            "admin" => parse_admin(rest),
            "clients" => parse_reply(rest),
            "events" => parse_event(rest).map(Self::Event),
            _ => None,
        }
    }

    /// Writes the topic name.
    pub fn topic(&self) -> TopicName {
        let text = match self {
            Self::Uns(path) => format!("uns/{path}"),
            Self::UnsSet(path) => format!("uns/{path}/set"),
            Self::UnsSetResult(path) => format!("uns/{path}/set/result"),
            Self::Thing { root, thing, topic } => format!("{}/{thing}/{topic}", root.as_str()),
            Self::Edge { edge, topic } => format!("edges/{edge}/{topic}"),
            Self::Admin { resource, verb, request_id: None } => format!("admin/{resource}/{verb}"),
            Self::Admin { resource, verb, request_id: Some(id) } => {
                format!("admin/{resource}/{verb}/{id}")
            }
            Self::Reply { client, request_id } => format!("clients/{client}/reply/{request_id}"),
            Self::Event(EventTopic::ClientConnected) => "events/clients/connected".to_owned(),
            Self::Event(EventTopic::ClientDisconnected) => "events/clients/disconnected".to_owned(),
            Self::Event(EventTopic::ClientListening) => "events/clients/listening".to_owned(),
            Self::Event(EventTopic::ClientRefused) => "events/clients/refused".to_owned(),
            Self::Event(EventTopic::Thing(thing)) => format!("events/things/{thing}"),
            Self::Event(EventTopic::Rejected(thing)) => format!("events/rejected/{thing}"),
            Self::Event(EventTopic::Bridge(bridge)) => format!("events/bridges/{bridge}"),
            Self::Event(EventTopic::Edge(edge)) => format!("events/edges/{edge}"),
            Self::Event(EventTopic::Rule(rule)) => format!("events/rules/{rule}"),
        };
        written(text)
    }

    /// The reply topic of a client; `None` if its client id is not one plain topic level.
    pub fn reply(client: &ClientId, request_id: &RequestId) -> Option<Self> {
        let client = Id::parse(client.as_str()).ok()?;
        Some(Self::Reply { client, request_id: request_id.clone() })
    }

    /// What every reply topic of a client begins with, `clients/<client id>/reply/`; `None` if it has none. It is what
    /// the client is told as its Response Information (MQTT 5.0 3.2.2.3.15).
    pub fn reply_prefix(client: &ClientId) -> Option<String> {
        let client = RequestId::parse(client.as_str()).ok()?;
        Some(format!("clients/{client}/reply/"))
    }

    /// A topic of a thing below `things/`.
    pub fn thing(thing: &ThingId, topic: ThingTopic) -> Self {
        Self::Thing { root: ThingRoot::Things, thing: thing.clone(), topic }
    }
}

/// Ids and paths are far shorter than a topic may be and hold no wildcard, so what is written is a topic.
fn written(text: String) -> TopicName {
    match TopicName::parse(text) {
        Ok(name) => name,
        Err(error) => unreachable!("a platform topic is a topic name: {error}"),
    }
}

fn parse_uns(rest: &str) -> Option<PlatformTopic> {
    if let Some(path) = rest.strip_suffix("/set/result") {
        return UnsPath::parse(path).ok().map(PlatformTopic::UnsSetResult);
    }
    if let Some(path) = rest.strip_suffix("/set") {
        return UnsPath::parse(path).ok().map(PlatformTopic::UnsSet);
    }
    UnsPath::parse(rest).ok().map(PlatformTopic::Uns)
}

fn parse_admin(rest: &str) -> Option<PlatformTopic> {
    let mut levels = rest.split('/');
    let resource = AdminWord::parse(levels.next()?).ok()?;
    let verb = AdminWord::parse(levels.next()?).ok()?;
    let request_id = match levels.next() {
        None => None,
        Some(level) => Some(RequestId::parse(level).ok()?),
    };
    levels.next().is_none().then_some(PlatformTopic::Admin { resource, verb, request_id })
}

fn parse_reply(rest: &str) -> Option<PlatformTopic> {
    let (client, rest) = rest.split_once('/')?;
    let request_id = rest.strip_prefix("reply/")?;
    Some(PlatformTopic::Reply {
        client: Id::parse(client).ok()?,
        request_id: RequestId::parse(request_id).ok()?,
    })
}

fn parse_event(rest: &str) -> Option<EventTopic> {
    match rest.split_once('/')? {
        ("clients", "connected") => Some(EventTopic::ClientConnected),
        ("clients", "disconnected") => Some(EventTopic::ClientDisconnected),
        ("clients", "listening") => Some(EventTopic::ClientListening),
        ("clients", "refused") => Some(EventTopic::ClientRefused),
        ("things", thing) => ThingId::parse(thing).ok().map(EventTopic::Thing),
        ("rejected", thing) => ThingId::parse(thing).ok().map(EventTopic::Rejected),
        ("bridges", bridge) => BridgeId::parse(bridge).ok().map(EventTopic::Bridge),
        ("edges", edge) => EdgeId::parse(edge).ok().map(EventTopic::Edge),
        ("rules", rule) => RuleId::parse(rule).ok().map(EventTopic::Rule),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Option<PlatformTopic> {
        PlatformTopic::parse(&TopicName::parse(text.to_owned()).unwrap())
    }

    /// Every form of the contract; each must parse and be written back as it was.
    const OWNED: &[&str] = &[
        "uns/acme/berlin/_raw/level",
        "uns/acme/_pump_v1/motor/current/set",
        "uns/acme/_pump_v1/motor/current/set/result",
        "things/pump7/telemetry",
        "things/pump7/events/overheat",
        "things/pump7/status",
        "things/pump7/model/get",
        "things/pump7/certificates/create",
        "things/pump7/certificates/create/accepted",
        "things/pump7/model/get/rejected",
        "things/pump7/shadow/get",
        "things/pump7/shadow/get/accepted",
        "things/pump7/shadow/update/rejected",
        "things/pump7/shadow/update/delta",
        "things/pump7/shadow/update/documents",
        "things/pump7/shadow/name/config/delete",
        "$aws/things/pump7/shadow/name/config/update/accepted",
        "things/pump7/commands/reboot/invoke",
        "things/pump7/commands/reboot/request",
        "things/pump7/commands/reboot/response",
        "things/pump7/commands/reboot/result",
        "things/pump7/jobs/get",
        "things/pump7/jobs/start-next/accepted",
        "things/pump7/jobs/notify",
        "things/pump7/jobs/notify-next",
        "things/pump7/jobs/j1/get",
        "things/pump7/jobs/j1/update/rejected",
        "things/pump7/files/t1/chunk",
        "edges/line1/status",
        "edges/line1/drivers/plc/status",
        "edges/line1/things/pump7/result",
        "edges/line1/things/pump7/shadow",
        "edges/line1/things/pump7/status",
        "edges/line1/uplink",
        "edges/line1/uplink/known",
        "edges/line1/question",
        "edges/line1/answer",
        "events/edges/line1",
        "edges/line1/uplink/report",
        "edges/line1/uplink/status",
        "admin/things/create",
        "admin/things/create/42",
        "admin/$catalog/get",
        "clients/app-1/reply/42",
        "events/clients/connected",
        "events/clients/disconnected",
        "events/clients/listening",
        "events/clients/refused",
        "events/things/pump7",
        "events/rejected/pump7",
        "events/bridges/hub",
    ];

    #[test]
    fn every_owned_topic_is_read_and_written_alike() {
        for text in OWNED {
            let topic = parse(text).unwrap_or_else(|| panic!("{text} is not read"));
            assert_eq!(topic.topic().as_str(), *text);
        }
    }

    #[test]
    fn free_and_malformed_topics_are_not_the_platforms() {
        for text in [
            "uns",
            "uns/x",
            "things/pump7",
            "things//telemetry",
            "things/pump7/nothing",
            "things/pump7/shadow/update/accepted/x",
            "$aws/pump7/shadow/get",
            "admin/things",
            "admin/a/b/c/d",
            "edges/x",
            "clients/x/reply",
            "温度/1",
            "/things/x/telemetry",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_a_one_level_client_id_has_a_reply_topic() {
        let id = RequestId::parse("1").unwrap();
        let app = ClientId::parse("app").unwrap();
        let topic = PlatformTopic::reply(&app, &id).unwrap().topic();
        let prefix = PlatformTopic::reply_prefix(&app).unwrap();
        assert_eq!(topic.as_str().strip_prefix(&prefix), Some("1"));
        for odd in ["a/b", "a+", "#"] {
            let odd = ClientId::parse(odd).unwrap();
            assert_eq!(PlatformTopic::reply(&odd, &id), None);
            assert_eq!(PlatformTopic::reply_prefix(&odd), None);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_back(text in "(uns|things|edges|admin|events|clients)(/[a-z_]{0,5}){0,6}") {
            if let Some(topic) = parse(&text) {
                let written = topic.topic();
                prop_assert_eq!(written.as_str(), text);
            }
        }
    }
}
