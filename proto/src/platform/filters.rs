//! The filters over platform topics: what the platform subscribes to, and what roles are granted.

use crate::id::{ClientId, EdgeId, RequestId, ThingId};
use crate::topic::TopicFilter;
use crate::uns::UnsPath;

/// Everything, system topics apart.
pub fn everything() -> TopicFilter {
    written("#")
}

/// The whole Unified Namespace.
pub fn uns() -> TopicFilter {
    written("uns/#")
}

/// The values of a contract at a location; `None` if that is no path of the namespace.
pub fn uns_contract(location: &str, contract: &str) -> Option<TopicFilter> {
    UnsPath::from_parts(location, contract, "x").ok()?;
    Some(written(&format!("uns/{location}/{contract}/#")))
}

/// Every request to the admin API.
pub fn admin_requests() -> TopicFilter {
    written("admin/#")
}

/// Every event of the platform.
pub fn events() -> TopicFilter {
    written("events/#")
}

/// The replies to all clients.
pub fn all_replies() -> TopicFilter {
    written("clients/#")
}

/// All devices' topics.
pub fn all_things() -> [TopicFilter; 2] {
    [written("things/#"), written("$aws/things/#")]
}

/// The coming and going of clients.
pub fn client_events() -> TopicFilter {
    written("events/clients/+")
}

/// What bridges say of themselves.
pub fn bridge_events() -> TopicFilter {
    written("events/bridges/+")
}

/// All topics of the broker's own figures.
pub fn broker_figures() -> TopicFilter {
    written("$SYS/#")
}

/// All edge nodes' topics.
pub fn all_edges() -> TopicFilter {
    written("edges/#")
}

/// What devices and apps say to the platform about any device. None of them matches what the platform answers,
/// so that the platform never hears itself.
pub fn thing_requests() -> Vec<TopicFilter> {
    let mut filters = vec![
        written("things/+/telemetry"),
        written("things/+/events/+"),
        written("things/+/model/get"),
        written("things/+/certificates/create"),
        written("things/+/commands/+/invoke"),
        written("things/+/commands/+/response"),
    ];
    for root in ["things", "$aws/things"] {
        for shadow in ["shadow", "shadow/name/+"] {
            for verb in ["get", "update", "delete"] {
                filters.push(written(&format!("{root}/+/{shadow}/{verb}")));
            }
        }
    }
    filters
}

/// Whether a subscription brings requests of commands of a device, of some name at least.
pub fn takes_commands(filter: &TopicFilter, thing: &ThingId) -> bool {
    // `None` stands for any name.
    let topic = [Some("things"), Some(thing.as_str()), Some("commands"), None, Some("request")];
    let mut levels = filter.levels();
    for level in topic {
        match (levels.next(), level) {
            (Some("#"), _) => return true,
            (Some("+"), _) | (Some(_), None) => {}
            (Some(given), Some(level)) if given == level => {}
            _ => return false,
        }
    }
    // `<topic>/#` matches the topic itself (MQTT 5.0 4.7.1.2).
    matches!((levels.next(), levels.next()), (None, None) | (Some("#"), None))
}

/// All topics of one device, under both roots.
pub fn thing(thing: &ThingId) -> [TopicFilter; 2] {
    [written(&format!("things/{thing}/#")), written(&format!("$aws/things/{thing}/#"))]
}

/// Whose topics a filter asks for, if it stays below `things/<thing>/` or its alias: `None` in it stands for any
/// thing.
pub fn thing_of(filter: &TopicFilter) -> Option<Option<ThingId>> {
    let text = filter.as_str();
    let rest = text.strip_prefix("things/").or_else(|| text.strip_prefix("$aws/things/"))?;
    let (thing, _) = rest.split_once('/')?;
    match thing {
        "+" => Some(None),
        thing => ThingId::parse(thing).ok().map(Some),
    }
}

/// All topics of one edge node.
pub fn edge(edge: &EdgeId) -> TopicFilter {
    written(&format!("edges/{edge}/#"))
}

/// The most levels of a topic that writes a value, and of its beginning `uns/`: more than any location and name need.
const WRITE_LEVELS_MAX: usize = 16;

/// Filters that together match every topic that writes a value below a filter of values; none below another filter.
pub fn writes_below(values: &TopicFilter) -> Vec<TopicFilter> {
    let text = values.as_str();
    if !text.starts_with("uns/") {
        return Vec::new();
    }
    let Some(above) = text.strip_suffix("/#") else {
        return vec![written(&format!("{text}/set"))];
    };
    let levels = above.split('/').count();
    let depth = |more| written(&format!("{above}{}/set", "/+".repeat(more)));
    (0..WRITE_LEVELS_MAX.saturating_sub(levels)).map(depth).collect()
}

/// Whether a filter matches nothing but topics that write values.
pub fn is_of_writes(filter: &TopicFilter) -> bool {
    filter.as_str().starts_with("uns/") && filter.as_str().ends_with("/set")
}

/// What edge nodes send to their hub: shipments, reports, and answers.
pub fn uplinks() -> [TopicFilter; 3] {
    ["edges/+/uplink", "edges/+/uplink/report", "edges/+/answer"].map(written)
}

/// The replies to one client; `None` if its client id is not one plain topic level.
pub fn replies(client: &ClientId) -> Option<TopicFilter> {
    let id = RequestId::parse(client.as_str()).ok()?;
    Some(written(&format!("clients/{id}/reply/+")))
}

/// Ids are far shorter than a topic may be and hold no wildcard, so what is written is a filter.
fn written(text: &str) -> TopicFilter {
    match TopicFilter::parse(text.to_owned()) {
        Ok(filter) => filter,
        Err(error) => unreachable!("a platform filter is a topic filter: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::{PlatformTopic, Stage, ThingTopic};
    use crate::topic::TopicName;

    #[test]
    fn the_platform_hears_requests_and_never_itself() {
        let heard = |text: &str| {
            let name = TopicName::parse(text.to_owned()).unwrap();
            thing_requests().iter().any(|filter| filter.matches(&name))
        };
        for request in [
            "things/p/telemetry",
            "$aws/things/p/shadow/update",
            "things/p/shadow/name/n/get",
            "things/p/model/get",
            "things/p/certificates/create",
            "things/p/commands/reboot/invoke",
            "things/p/commands/reboot/response",
        ] {
            assert!(heard(request), "{request}");
        }
        for answer in [
            "things/p/shadow/update/accepted",
            "things/p/shadow/update/delta",
            "things/p/model/get/accepted",
            "things/p/certificates/create/accepted",
            "things/p/status",
            "things/p/commands/reboot/request",
            "things/p/commands/reboot/result",
        ] {
            assert!(!heard(answer), "{answer}");
        }
    }

    #[test]
    fn a_device_takes_commands_by_any_filter_that_brings_a_request() {
        let thing = ThingId::parse("p").unwrap();
        let takes = |text: &str| takes_commands(&written(text), &thing);
        for filter in [
            "things/p/commands/+/request",
            "things/p/commands/reboot/request",
            "things/p/commands/reboot/+",
            "things/p/commands/reboot/request/#",
            "things/p/commands/#",
            "things/p/#",
            "things/+/+/+/+",
            "#",
        ] {
            assert!(takes(filter), "{filter}");
        }
        for filter in [
            "things/p/commands/+/response",
            "things/p/commands/+",
            "things/p/commands/+/request/x",
            "things/q/commands/+/request",
            "things/p/shadow/#",
            "$aws/things/p/#",
        ] {
            assert!(!takes(filter), "{filter}");
        }
    }

    #[test]
    fn every_request_filter_stands_for_a_request_topic() {
        for filter in thing_requests() {
            let text = filter.as_str().replace('+', "x");
            let topic = PlatformTopic::parse(&TopicName::parse(text).unwrap()).unwrap();
            let PlatformTopic::Thing { topic, .. } = topic else { panic!("{topic:?}") };
            if let ThingTopic::Shadow(shadow) = topic {
                assert!(shadow.verb.answer(Stage::Accepted).is_some());
            }
        }
    }

    #[test]
    fn a_filter_tells_whose_topics_it_asks_for() {
        let of = |text: &str| thing_of(&TopicFilter::parse(text.to_owned()).unwrap());
        let pump = ThingId::parse("pump7").unwrap();
        assert_eq!(of("things/pump7/#"), Some(Some(pump.clone())));
        assert_eq!(of("$aws/things/pump7/shadow/+"), Some(Some(pump)));
        assert_eq!(of("things/+/shadow/update/delta"), Some(None));
        for other in ["#", "things/#", "+/pump7/telemetry", "things/pump7", "uns/pump7/#"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn an_odd_client_id_has_no_replies() {
        assert!(replies(&ClientId::parse("a").unwrap()).is_some());
        assert!(replies(&ClientId::parse("a/+").unwrap()).is_none());
    }
}
