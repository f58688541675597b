//! What each role may publish on, subscribe to and receive: the roles of the public contract as rules over topics.
//!
//! A publisher's permission is worked out once for each topic and kept in its route cache; a subscriber's once for
//! each route. Nobody but the platform may speak in the platform's name: answers, results, presence and events
//! cannot be published by a client of any role. An access list ([`acl`]) narrows a role for one client. A device that
//! is a gateway speaks for the things behind it ([`kin`]).

pub(crate) mod acl;
pub(crate) mod kin;

pub(crate) use acl::{Acl, Allowance};
pub(crate) use kin::Kin;

use acl::{AclError, AnyOf};

use crate::auth::Proof;
use crate::denial::Denial;
use crate::message::Sender;
use crate::reason::Reason;
use proto::platform::{self, filters, sys};
use proto::platform::{
    CommandTopic, EdgeTopic, JobTopic, ShadowTopic, ShadowVerb, Stage, ThingTopic,
};
use proto::{Identity, PlatformTopic, Qos, Role, ThingId, TopicFilter, TopicName};
use std::sync::Arc;

/// What one client may do: the rules of its role, narrowed by a list of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Permissions {
    /// Who it is.
    pub(crate) sender: Arc<Sender>,
    /// Absent: all that the role allows.
    pub(crate) acl: Option<Arc<Acl>>,
    /// By what it has proved who it is: what changes them.
    pub(crate) proof: Proof,
    /// Of a device: which things are behind which gateway.
    pub(crate) kin: Option<Arc<Kin>>,
}

impl Permissions {
    /// Those of a role alone.
    pub(crate) fn of_role(sender: Arc<Sender>) -> Self {
        Self { sender, acl: None, proof: Proof::Elsewhere, kin: None }
    }

    /// The same in a namespace whose gateways are known.
    #[must_use]
    pub(crate) fn within(self, kin: &Arc<Kin>) -> Self {
        let is_device = matches!(self.sender.identity, Identity::Thing(_));
        Self { kin: is_device.then(|| Arc::clone(kin)), ..self }
    }

    /// Those of the same client when its credential gives it another role or other lists.
    pub(crate) fn of(&self, identity: &Identity, lists: &[AnyOf]) -> Result<Self, AclError> {
        let client_id = &self.sender.client_id;
        let acl = Acl::compile(lists, identity.name(), client_id.as_str())?.map(Arc::new);
        let sender = match self.sender.identity == *identity {
            true => Arc::clone(&self.sender),
            false => Arc::new(Sender { client_id: client_id.clone(), identity: identity.clone() }),
        };
        Ok(Self { sender, acl, proof: self.proof.clone(), kin: self.kin.clone() })
    }

    /// What may be published on `topic`; `None` if nothing.
    pub(crate) fn publish(&self, topic: &TopicName) -> Option<Allowance> {
        let is_allowed = may_publish(&self.sender, topic)
            || self.behind(topic).is_some_and(|thing| may_publish(&self.voice_of(thing), topic));
        if !is_allowed {
            return None;
        }
        self.acl.as_ref().map_or(Some(Allowance::ALL), |acl| acl.publish(topic))
    }

    /// The highest QoS that may be granted for `filter`; `None` if it may not be subscribed to.
    pub(crate) fn subscribe(&self, filter: &TopicFilter) -> Option<Qos> {
        if !may_subscribe(&self.sender, filter) && !self.is_about_things_behind(filter) {
            return None;
        }
        self.acl.as_ref().map_or(Some(Qos::ExactlyOnce), |acl| acl.subscribe(filter))
    }

    /// Why publishing on `topic` is refused, in `rule` unless its list keeps it to itself.
    pub(crate) fn refuse_publish(&self, topic: &TopicName, rule: &'static str) -> Denial {
        refuse(self.acl.as_ref().is_some_and(|acl| acl.is_silent_on_publish(topic)), rule)
    }

    /// Why subscribing to `filter` is refused, as in [`Self::refuse_publish`].
    pub(crate) fn refuse_subscribe(&self, filter: &TopicFilter, rule: &'static str) -> Denial {
        refuse(self.acl.as_ref().is_some_and(|acl| acl.is_silent_on_subscribe(filter)), rule)
    }

    /// Whether a message on `topic` may be given to the client.
    pub(crate) fn receive(&self, topic: &TopicName) -> bool {
        let is_allowed = may_receive(&self.sender, topic) || self.behind(topic).is_some();
        is_allowed && self.acl.as_ref().is_none_or(|acl| acl.receive(topic))
    }

    /// Whether the platform may answer the client on `topic`.
    pub(crate) fn be_answered_on(&self, topic: &TopicName) -> bool {
        may_be_answered_on(&self.sender, topic)
            && self.acl.as_ref().is_none_or(|acl| acl.receive(topic))
    }

    /// The thing whose topic it is, if it is behind this client.
    fn behind(&self, topic: &TopicName) -> Option<ThingId> {
        let (kin, Identity::Thing(own)) = (self.kin.as_ref()?, &self.sender.identity) else {
            return None;
        };
        match PlatformTopic::parse(topic)? {
            PlatformTopic::Thing { thing, .. } if kin.is_behind(&thing, own) => Some(thing),
            _ => None,
        }
    }

    /// Whether a filter asks for topics of things behind this client. With a wildcard in place of the thing it
    /// gets those of its own things.
    fn is_about_things_behind(&self, filter: &TopicFilter) -> bool {
        let (Some(kin), Identity::Thing(own)) = (&self.kin, &self.sender.identity) else {
            return false;
        };
        match filters::thing_of(filter) {
            Some(Some(thing)) => kin.is_behind(&thing, own),
            Some(None) => kin.is_gateway(own),
            None => false,
        }
    }

    fn voice_of(&self, thing: ThingId) -> Sender {
        let client_id = self.sender.client_id.clone();
        Sender { client_id, identity: Identity::Thing(thing) }
    }
}

/// MQTT 5.0 3.9.3 has 0x80 for a server that does not wish to reveal the reason.
fn refuse(is_silent: bool, rule: &'static str) -> Denial {
    match is_silent {
        true => Denial::rule(Reason::UnspecifiedError, "it is refused, and why is not told"),
        false => Denial::rule(Reason::NotAuthorized, rule),
    }
}

/// Whether `sender` may publish on `topic`.
pub(crate) fn may_publish(sender: &Sender, topic: &TopicName) -> bool {
    if sender.identity == Identity::Platform {
        return true;
    }
    let Some(owned) = PlatformTopic::parse(topic) else {
        return is_free(topic) && has_free_topics(sender.identity.role());
    };
    if is_platform_speech(&owned) {
        return false;
    }
    match &sender.identity {
        Identity::Platform => true,
        Identity::Thing(thing) => is_device_speech(&owned, thing),
        Identity::Edge(edge) => match &owned {
            PlatformTopic::Uns(_) => true,
            PlatformTopic::Edge { edge: other, .. } => edge == other,
            _ => false,
        },
        Identity::User { role, .. } => match role {
            Role::SystemAdmin | Role::TenantAdmin | Role::ProjectAdmin => true,
            Role::App => is_app_speech(&owned),
            // Reading through the admin API is publishing a request; the API knows what a reader may ask.
            Role::User => matches!(owned, PlatformTopic::Admin { .. }),
            Role::Enrolment => is_registration(&owned),
            Role::Device | Role::Edge => false,
        },
    }
}

/// Whether `sender` may name `topic` as the response topic of a request: the platform will publish there.
pub(crate) fn may_be_answered_on(sender: &Sender, topic: &TopicName) -> bool {
    match PlatformTopic::parse(topic) {
        None => is_free(topic) && may_receive(sender, topic),
        Some(PlatformTopic::Reply { client, .. }) => client.as_str() == sender.client_id.as_str(),
        Some(_) => sender.identity == Identity::Platform,
    }
}

/// Whether a subscription makes sense for `sender`. What it then receives is decided by [`may_receive`].
pub(crate) fn may_subscribe(sender: &Sender, filter: &TopicFilter) -> bool {
    let own: Vec<TopicFilter> = match &sender.identity {
        Identity::Thing(thing) => filters::thing(thing).into(),
        // Writes of values, which it hands on to its machines.
        Identity::Edge(_) if filters::is_of_writes(filter) => return true,
        Identity::Edge(edge) => vec![filters::edge(edge)],
        Identity::Platform | Identity::User { .. } => return true,
    };
    let replies = filters::replies(&sender.client_id);
    own.iter().chain(&replies).any(|granted| granted.covers(filter))
}

/// Whether `sender` may be given messages of `topic`.
pub(crate) fn may_receive(sender: &Sender, topic: &TopicName) -> bool {
    let role = sender.identity.role();
    if sys::is_sys(topic) {
        // Figures of the whole broker, of all namespaces.
        return role == Role::SystemAdmin;
    }
    if role.is_admin() {
        return true;
    }
    let owned = PlatformTopic::parse(topic);
    match (&sender.identity, owned) {
        (_, Some(PlatformTopic::Reply { client, .. })) => {
            client.as_str() == sender.client_id.as_str()
        }
        (Identity::Thing(own), Some(PlatformTopic::Thing { thing, .. })) => *own == thing,
        (Identity::Edge(own), Some(PlatformTopic::Edge { edge, .. })) => *own == edge,
        (Identity::Edge(_), Some(PlatformTopic::UnsSet(_))) => true,
        (Identity::User { role: Role::Enrolment, .. }, _) => false,
        (Identity::User { .. }, Some(PlatformTopic::Admin { .. })) => false,
        (Identity::User { .. }, Some(PlatformTopic::Edge { topic, .. })) => !topic.is_private(),
        (Identity::User { .. }, Some(_)) => true,
        (Identity::User { .. }, None) => is_free(topic),
        _ => false,
    }
}

/// A topic that people and edge nodes use as they like. Sparkplug's have a meaning of their own.
fn is_free(topic: &TopicName) -> bool {
    let root = topic.levels().next().unwrap_or_default();
    platform::is_free(topic) && root != "spBv1.0"
}

fn has_free_topics(role: Role) -> bool {
    match role {
        Role::SystemAdmin | Role::TenantAdmin | Role::ProjectAdmin | Role::App | Role::Edge => true,
        Role::User | Role::Device | Role::Enrolment => false,
    }
}

/// What only the platform says.
fn is_platform_speech(topic: &PlatformTopic) -> bool {
    match topic {
        PlatformTopic::UnsSetResult(_) | PlatformTopic::Reply { .. } | PlatformTopic::Event(_) => {
            true
        }
        PlatformTopic::Uns(_) | PlatformTopic::UnsSet(_) | PlatformTopic::Admin { .. } => false,
        PlatformTopic::Edge { topic, .. } => {
            use EdgeTopic::{Configuration, Question, Thing, UplinkKnown, UplinkStatus};
            matches!(topic, Configuration | UplinkStatus | UplinkKnown | Question | Thing(..))
        }
        PlatformTopic::Thing { topic, .. } => match topic {
            ThingTopic::Telemetry | ThingTopic::Event(_) | ThingTopic::File(..) => false,
            ThingTopic::Status => true,
            ThingTopic::Shadow(shadow) => !is_request(shadow),
            ThingTopic::Command(_, step) => {
                matches!(step, CommandTopic::Request | CommandTopic::Result)
            }
            ThingTopic::Model(stage) | ThingTopic::Certificate(stage) => *stage != Stage::Request,
            ThingTopic::Job(job) => !is_job_request(job),
        },
    }
}

fn is_request(shadow: &ShadowTopic) -> bool {
    matches!(
        shadow.verb,
        ShadowVerb::Get(Stage::Request)
            | ShadowVerb::Update(Stage::Request)
            | ShadowVerb::Delete(Stage::Request)
    )
}

fn is_job_request(job: &JobTopic) -> bool {
    matches!(
        job,
        JobTopic::Pending(Stage::Request)
            | JobTopic::StartNext(Stage::Request)
            | JobTopic::Get(_, Stage::Request)
            | JobTopic::Update(_, Stage::Request)
    )
}

/// What a device says of itself.
fn is_device_speech(topic: &PlatformTopic, own: &ThingId) -> bool {
    match topic {
        PlatformTopic::Thing { thing, topic, .. } if thing == own => {
            !matches!(topic, ThingTopic::Command(_, CommandTopic::Invoke))
        }
        _ => false,
    }
}

/// What a device asks for that is not registered yet.
fn is_registration(topic: &PlatformTopic) -> bool {
    let PlatformTopic::Admin { resource, verb, .. } = topic else { return false };
    resource.as_str() == "enrolments" && verb.as_str() == "register"
}

/// What an application asks for.
fn is_app_speech(topic: &PlatformTopic) -> bool {
    match topic {
        PlatformTopic::UnsSet(_) | PlatformTopic::Admin { .. } => true,
        PlatformTopic::Thing { topic, .. } => {
            matches!(topic, ThingTopic::Shadow(_) | ThingTopic::Command(_, CommandTopic::Invoke))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{ClientId, EdgeId, UserId};

    fn user(role: Role) -> Sender {
        let name = UserId::parse("u").unwrap();
        Sender {
            client_id: ClientId::parse("c1").unwrap(),
            identity: Identity::User { name, role },
        }
    }

    fn device() -> Sender {
        let thing = ThingId::parse("pump7").unwrap();
        Sender { client_id: ClientId::parse("c1").unwrap(), identity: Identity::Thing(thing) }
    }

    fn edge() -> Sender {
        let edge = EdgeId::parse("line1").unwrap();
        Sender { client_id: ClientId::parse("c1").unwrap(), identity: Identity::Edge(edge) }
    }

    /// Topic, then who may publish: admin, app, user, the device `pump7`, the edge node `line1`.
    const PUBLISH: &[(&str, [bool; 5])] = &[
        ("things/pump7/telemetry", [true, false, false, true, false]),
        ("things/pump8/telemetry", [true, false, false, false, false]),
        ("things/pump7/shadow/update", [true, true, false, true, false]),
        ("$aws/things/pump7/shadow/get", [true, true, false, true, false]),
        ("things/pump7/shadow/update/accepted", [false; 5]),
        ("things/pump7/shadow/update/delta", [false; 5]),
        ("things/pump7/status", [false; 5]),
        ("things/pump7/model/get", [true, false, false, true, false]),
        ("things/pump7/certificates/create", [true, false, false, true, false]),
        ("things/pump7/certificates/create/accepted", [false; 5]),
        ("things/pump7/model/get/accepted", [false; 5]),
        ("things/pump7/commands/reboot/invoke", [true, true, false, false, false]),
        ("things/pump7/commands/reboot/request", [false; 5]),
        ("things/pump7/commands/reboot/response", [true, false, false, true, false]),
        ("uns/a/_raw/x", [true, false, false, false, true]),
        ("uns/a/_raw/x/set", [true, true, false, false, false]),
        ("uns/a/_raw/x/set/result", [false; 5]),
        ("uns/nonsense", [false; 5]),
        ("admin/things/list", [true, true, true, false, false]),
        ("events/clients/connected", [false; 5]),
        ("clients/c1/reply/1", [false; 5]),
        ("edges/line1/status", [true, false, false, false, true]),
        ("edges/line2/status", [true, false, false, false, false]),
        ("$SYS/x", [false; 5]),
        ("$share/g/x", [false; 5]),
        ("$aws/x", [false; 5]),
        ("$system/p/d/update", [true, true, false, false, true]),
        ("温度/1", [true, true, false, false, true]),
    ];

    #[test]
    fn publishing_follows_the_table() {
        let senders =
            [user(Role::ProjectAdmin), user(Role::App), user(Role::User), device(), edge()];
        for (topic, expected) in PUBLISH {
            let name = TopicName::parse(topic.to_owned()).unwrap();
            let actual = senders.each_ref().map(|sender| may_publish(sender, &name));
            assert_eq!(actual, *expected, "{topic}");
        }
    }

    #[test]
    fn nobody_receives_the_replies_of_others() {
        let own = TopicName::parse("clients/c1/reply/1").unwrap();
        let other = TopicName::parse("clients/c2/reply/1").unwrap();
        for sender in [user(Role::App), user(Role::User), device(), edge()] {
            assert!(may_receive(&sender, &own), "{sender:?}");
            assert!(!may_receive(&sender, &other), "{sender:?}");
        }
    }

    #[test]
    fn a_device_subscribes_within_its_own_tree_only() {
        let may =
            |text: &str| may_subscribe(&device(), &TopicFilter::parse(text.to_owned()).unwrap());
        for own in ["things/pump7/#", "$aws/things/pump7/shadow/+", "clients/c1/reply/+"] {
            assert!(may(own), "{own}");
        }
        for other in ["#", "things/#", "things/+/shadow/get", "things/pump8/status", "uns/#"] {
            assert!(!may(other), "{other}");
        }
    }

    #[test]
    fn a_gateway_speaks_as_the_things_behind_it_and_no_other_device_does() {
        let thing = |text: &str| ThingId::parse(text).unwrap();
        let kin = Arc::new(Kin::default());
        kin.set(thing("sensor"), Some(thing("pump7")));
        kin.set(thing("probe"), Some(thing("sensor")));
        let gateway = Permissions::of_role(Arc::new(device())).within(&kin);
        let topic = |text: &str| TopicName::parse(text.to_owned()).unwrap();
        let filter = |text: &str| TopicFilter::parse(text.to_owned()).unwrap();
        for (text, publishes, receives) in [
            ("things/sensor/telemetry", true, true),
            ("things/probe/shadow/update", true, true),
            ("things/sensor/shadow/update/accepted", false, true),
            ("things/sensor/status", false, true),
            ("things/sensor/commands/reboot/invoke", false, true),
            ("things/sensor/commands/reboot/response", true, true),
            ("things/other/telemetry", false, false),
            ("uns/a/_raw/x", false, false),
        ] {
            assert_eq!(gateway.publish(&topic(text)).is_some(), publishes, "{text}");
            assert_eq!(gateway.receive(&topic(text)), receives, "{text}");
        }
        for (text, granted) in [
            ("things/sensor/#", true),
            ("things/+/shadow/update/delta", true),
            ("things/other/#", false),
            ("things/#", false),
            ("#", false),
        ] {
            assert_eq!(gateway.subscribe(&filter(text)).is_some(), granted, "{text}");
        }
        kin.set(thing("sensor"), None);
        assert!(gateway.publish(&topic("things/sensor/telemetry")).is_none());
        assert!(gateway.publish(&topic("things/probe/telemetry")).is_none());
        assert!(gateway.subscribe(&filter("things/+/shadow/update/delta")).is_none());
    }

    #[test]
    fn the_platform_answers_only_where_the_asker_may_listen() {
        let may = |sender: &Sender, text: &str| {
            may_be_answered_on(sender, &TopicName::parse(text.to_owned()).unwrap())
        };
        assert!(may(&user(Role::App), "my/replies"));
        assert!(may(&device(), "clients/c1/reply/9"));
        assert!(!may(&device(), "clients/c2/reply/9"));
        assert!(!may(&user(Role::App), "things/pump7/shadow/update"));
        assert!(!may(&user(Role::ProjectAdmin), "uns/a/_raw/x"));
        assert!(!may(&device(), "my/replies"));
    }
}
