//! Which topic here is which topic there. Plain functions; each way undoes the other.

use super::config::{BridgeConfig, Rule};
use drivers::ConfigError;
use proto::{Qos, TopicFilter, TopicName};

/// The rules of a bridge, ready to be asked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mapping {
    rules: Vec<Mapped>,
}

#[derive(Debug, Clone, PartialEq)]
struct Mapped {
    rule: Rule,
    local: TopicFilter,
    remote: TopicFilter,
}

/// Where a message goes, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) topic: TopicName,
    pub(super) qos_max: Qos,
    pub(super) passes_retain: bool,
}

/// Why a message goes nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoWay {
    /// No rule fits it.
    NoRule,
    /// What it would be called on the other side is no topic name.
    NoTopic,
}

impl Mapping {
    /// The mapping of a configuration, which is refused if it is not a good one.
    pub(super) fn new(config: &BridgeConfig) -> Result<Self, ConfigError> {
        config.check()?;
        let mapped = |rule: &Rule| {
            let (local, remote) = (rule.local_filter()?, rule.remote_filter()?);
            Ok(Mapped { rule: rule.clone(), local, remote })
        };
        let rules: Result<_, ConfigError> = config.rules.iter().map(mapped).collect();
        Ok(Self { rules: rules? })
    }

    /// What the bridge subscribes to here.
    pub(super) fn local_filters(&self) -> Vec<(TopicFilter, Qos)> {
        let out = self.rules.iter().filter(|it| it.rule.goes_out());
        out.map(|it| (it.local.clone(), it.rule.qos())).collect()
    }

    /// What the bridge subscribes to there.
    pub(super) fn remote_filters(&self) -> Vec<TopicFilter> {
        let taken = self.rules.iter().filter(|it| it.rule.comes_in());
        taken.map(|it| it.remote.clone()).collect()
    }

    /// The way out of a topic of this namespace.
    pub(super) fn outward(&self, topic: &TopicName) -> Result<Way, NoWay> {
        let mut rules = self.rules.iter().filter(|it| it.rule.goes_out());
        let found = rules.find(|it| it.local.matches(topic)).ok_or(NoWay::NoRule)?;
        found.way(topic, &found.rule.local_prefix, &found.rule.remote_prefix)
    }

    /// The number of the rule by which a topic of this namespace goes out.
    pub(super) fn rule_out(&self, topic: &TopicName) -> Option<usize> {
        self.rules.iter().position(|it| it.rule.goes_out() && it.local.matches(topic))
    }

    /// The way in of a topic of the remote broker.
    pub(super) fn inward(&self, topic: &TopicName) -> Result<Way, NoWay> {
        let mut rules = self.rules.iter().filter(|it| it.rule.comes_in());
        let found = rules.find(|it| it.remote.matches(topic)).ok_or(NoWay::NoRule)?;
        found.way(topic, &found.rule.remote_prefix, &found.rule.local_prefix)
    }
}

impl Mapped {
    fn way(&self, topic: &TopicName, from: &str, to: &str) -> Result<Way, NoWay> {
        let topic = replace_prefix(topic.as_str(), from, to).ok_or(NoWay::NoTopic)?;
        let topic = TopicName::parse(topic).map_err(|_| NoWay::NoTopic)?;
        Ok(Way { topic, qos_max: self.rule.qos(), passes_retain: self.rule.retain })
    }
}

/// `to` and what follows `from` in `topic`.
fn replace_prefix(topic: &str, from: &str, to: &str) -> Option<String> {
    if let Some(rest) = topic.strip_prefix(from) {
        return Some(format!("{to}{rest}"));
    }
    // `a/#` also stands for `a` (MQTT 5.0 4.7.1.2), which has no rest: the parent becomes the parent.
    if topic == from.strip_suffix('/')? { to.strip_suffix('/').map(str::to_owned) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::config::{Direction, QueueConfig};
    use drivers::bridge::RemoteConfig;
    use proptest::prelude::*;

    fn mapping(filter: &str, local: &str, remote: &str) -> Option<Mapping> {
        let rule = Rule {
            direction: Direction::Both,
            filter: filter.to_owned(),
            local_prefix: local.to_owned(),
            remote_prefix: remote.to_owned(),
            qos: 1,
            retain: true,
        };
        let remote = RemoteConfig::new("mqtt://hub", "b");
        let queue = QueueConfig::default();
        Mapping::new(&BridgeConfig { remote, rules: vec![rule], queue, hops_max: 8 }).ok()
    }

    fn name(text: &str) -> TopicName {
        TopicName::parse(text.to_owned()).unwrap()
    }

    #[test]
    fn prefixes_are_exchanged() {
        let cases = [
            ("#", "", "edge7/", "a/b", Ok("edge7/a/b")),
            ("#", "plant/", "", "plant/a", Ok("a")),
            ("#", "plant/", "p/", "plant", Ok("p")),
            ("#", "plant/", "", "plant", Err(NoWay::NoTopic)),
            ("#", "plant/", "p/", "other/a", Err(NoWay::NoRule)),
            ("+/x", "a", "b", "a/x", Err(NoWay::NoRule)),
            ("/+", "a", "b", "a/x", Ok("b/x")),
        ];
        for (filter, local, remote, topic, expected) in cases {
            let Some(mapping) = mapping(filter, local, remote) else {
                assert_eq!((filter, local), ("+/x", "a"), "refused");
                continue;
            };
            let found = mapping.outward(&name(topic));
            let found = found.as_ref().map(|way| way.topic.as_str()).map_err(|it| *it);
            assert_eq!(found, expected, "{local}{filter} to {remote}: {topic}");
        }
    }

    #[test]
    fn what_is_too_long_on_the_other_side_has_no_way() {
        let mapping = mapping("#", "", "edge/").unwrap();
        assert_eq!(mapping.outward(&name(&"x".repeat(65_535))), Err(NoWay::NoTopic));
    }

    proptest! {
        #[test]
        fn there_and_back_is_the_same_topic(
            filter in "([ab+]/){0,2}[ab+#]", local in "([ab]/){0,2}", remote in "([cd]/){0,2}",
            topic in "([ab]/){0,4}[ab]",
        ) {
            let topic = name(&topic);
            if let Some(mapping) = mapping(&filter, &local, &remote)
                && let Ok(there) = mapping.outward(&topic)
            {
                let back = mapping.inward(&there.topic).unwrap();
                prop_assert_eq!(back.topic, topic);
            }
        }
    }
}
