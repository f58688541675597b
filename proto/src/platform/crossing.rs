//! What may cross a bridge to or from another broker.
//!
//! A bridge publishes in the platform's name, so what comes in is held to what the other side may know of: free
//! topics, values and writes of the Unified Namespace, Sparkplug, telemetry and events of devices. Requests to the
//! admin API and replies, which may carry secrets, neither come in nor go out.

use super::{EdgeTopic, PlatformTopic, ThingNews, ThingTopic, is_free};
use crate::id::{EdgeId, ThingId};
use crate::topic::TopicName;

/// Roots whose messages never leave a namespace.
const PRIVATE: [&str; 2] = ["admin", "clients"];

/// Whether a message of another broker may be published here.
pub fn may_enter(name: &TopicName) -> bool {
    match PlatformTopic::parse(name) {
        None => is_free(name),
        Some(PlatformTopic::Uns(_) | PlatformTopic::UnsSet(_) | PlatformTopic::UnsSetResult(_)) => {
            true
        }
        Some(PlatformTopic::Thing { topic, .. }) => {
            matches!(topic, ThingTopic::Telemetry | ThingTopic::Event(_))
        }
        Some(
            PlatformTopic::Edge { .. }
            | PlatformTopic::Admin { .. }
            | PlatformTopic::Reply { .. }
            | PlatformTopic::Event(_),
        ) => false,
    }
}

/// Whether an edge node may bring a message on this topic up to its hub.
pub fn may_come_up(edge: &EdgeId, name: &TopicName) -> bool {
    match PlatformTopic::parse(name) {
        None => is_free(name),
        Some(PlatformTopic::Uns(_) | PlatformTopic::UnsSetResult(_)) => true,
        Some(PlatformTopic::Edge { edge: of, topic }) => {
            use EdgeTopic::{DriverStatus, Status, Thing};
            of == *edge && matches!(topic, Status | DriverStatus(_) | Thing(..))
        }
        Some(_) => false,
    }
}

/// What a message that has come up says of a thing, if it does.
pub fn news_of_thing(name: &TopicName) -> Option<(ThingId, ThingNews)> {
    // Nearly all are values, which need no closer look.
    if root(name) != "edges" {
        return None;
    }
    match PlatformTopic::parse(name) {
        Some(PlatformTopic::Edge { topic: EdgeTopic::Thing(thing, news), .. }) => {
            Some((thing, news))
        }
        _ => None,
    }
}

/// Whether an edge node takes a message up that its hub would take: what it says of itself, and what is wanted.
pub fn goes_up(edge: &EdgeId, name: &TopicName, is_wanted: impl Fn() -> bool) -> bool {
    // Nearly all are values, which need no closer look.
    if let Some(rest) = name.as_str().strip_prefix("uns/") {
        return !rest.ends_with("/set") && is_wanted();
    }
    // Among what the hub would not take are requests with secrets in them.
    (root(name) == "edges" || is_wanted()) && may_come_up(edge, name)
}

/// Whether a message of this namespace may be given to another broker.
pub fn may_leave(name: &TopicName) -> bool {
    let is_private = match PlatformTopic::parse(name) {
        Some(PlatformTopic::Edge { topic, .. }) => topic.is_private(),
        _ => PRIVATE.contains(&root(name)),
    };
    !is_private
}

/// Whether every topic below a prefix, or of a filter, is one that may neither come in nor go out.
pub fn is_private(text: &str) -> bool {
    PRIVATE.contains(&text.split('/').next().unwrap_or_default())
}

fn root(name: &TopicName) -> &str {
    name.levels().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_node_brings_up_values_and_what_it_says_of_itself() {
        let edge = EdgeId::parse("press").unwrap();
        let cases = [
            ("plant/a", true),
            ("uns/acme/press/_raw/speed", true),
            ("uns/acme/press/_raw/speed/set/result", true),
            ("uns/acme/press/_raw/speed/set", false),
            ("edges/press/status", true),
            ("edges/press/drivers/plc/status", true),
            ("edges/press/things/pump/shadow", true),
            ("edges/press/things/pump/result", true),
            ("edges/press/things/pump/status", true),
            ("edges/press/things/pump/telemetry", false),
            ("edges/paint/things/pump/shadow", false),
            ("edges/press/uplink", false),
            ("edges/press/answer", false),
            ("edges/press/uplink/status", false),
            ("edges/paint/status", false),
            ("things/pump/status", false),
            ("admin/users/list", false),
            ("$SYS/broker/uptime", false),
            ("$system/p/d/update", true),
        ];
        for (topic, may) in cases {
            let name = TopicName::parse(topic).unwrap();
            assert_eq!(may_come_up(&edge, &name), may, "{topic}");
            assert_eq!(goes_up(&edge, &name, || true), may, "{topic}");
            assert_eq!(goes_up(&edge, &name, || false), may && root(&name) == "edges", "{topic}");
        }
    }

    #[test]
    fn what_is_said_of_a_thing_is_told_from_all_else() {
        for (topic, of) in [
            ("edges/press/things/pump/shadow", Some(("pump", ThingNews::Shadow))),
            ("edges/press/things/pump/result", Some(("pump", ThingNews::Result))),
            ("edges/press/things/pump/other", None),
            ("edges/press/status", None),
            ("things/pump/status", None),
        ] {
            let said = news_of_thing(&TopicName::parse(topic).unwrap());
            let said = said.as_ref().map(|(thing, news)| (thing.as_str(), *news));
            assert_eq!(said, of, "{topic}");
        }
    }

    #[test]
    fn secrets_stay_and_orders_do_not_come_in() {
        // Topic, may come in, may go out.
        let cases = [
            ("plant/a", true, true),
            ("温度/1", true, true),
            ("uns/acme/_raw/x", true, true),
            ("uns/acme/_raw/x/set", true, true),
            ("uns/nonsense", false, true),
            ("spBv1.0/g/NDATA/e", true, true),
            ("things/p/telemetry", true, true),
            ("things/p/events/hot", true, true),
            ("things/p/status", false, true),
            ("things/p/shadow/update", false, true),
            ("$aws/things/p/shadow/update", false, true),
            ("$SYS/uptime", false, true),
            ("$share/g/x", false, true),
            ("$system/p/d/update", true, true),
            ("edges/e/status", false, true),
            ("edges/e/question", false, false),
            ("edges/e/answer", false, false),
            ("events/clients/connected", false, true),
            ("admin/users/create", false, false),
            ("admin/odd", false, false),
            ("clients/c/reply/1", false, false),
        ];
        for (text, comes_in, goes_out) in cases {
            let name = TopicName::parse(text.to_owned()).unwrap();
            assert_eq!(may_enter(&name), comes_in, "{text} in");
            assert_eq!(may_leave(&name), goes_out, "{text} out");
        }
        assert!(is_private("admin/users/#") && !is_private("#") && !is_private("administration/"));
    }
}
