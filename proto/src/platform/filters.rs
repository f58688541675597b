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
    let plain = ["things/+/telemetry", "things/+/events/+", "things/+/model/get"];
    let mut filters = plain.map(written).to_vec();
    for root in ["things", "$aws/things"] {
        for shadow in ["shadow", "shadow/name/+"] {
            for verb in ["get", "update", "delete"] {
                filters.push(written(&format!("{root}/+/{shadow}/{verb}")));
            }
        }
    }
    filters
}

/// All topics of one device, under both roots.
pub fn thing(thing: &ThingId) -> [TopicFilter; 2] {
    [written(&format!("things/{thing}/#")), written(&format!("$aws/things/{thing}/#"))]
}

/// All topics of one edge node.
pub fn edge(edge: &EdgeId) -> TopicFilter {
    written(&format!("edges/{edge}/#"))
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
        for request in ["things/p/telemetry", "$aws/things/p/shadow/update", "things/p/model/get"] {
            assert!(heard(request), "{request}");
        }
        for answer in
            ["things/p/shadow/update/accepted", "things/p/model/get/accepted", "things/p/status"]
        {
            assert!(!heard(answer), "{answer}");
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
    fn an_odd_client_id_has_no_replies() {
        assert!(replies(&ClientId::parse("a").unwrap()).is_some());
        assert!(replies(&ClientId::parse("a/+").unwrap()).is_none());
    }
}
