//! What an operator says about a bridge: the remote broker, the rules, the bounds of its queue.

use drivers::ConfigError;
use drivers::bridge::{RemoteConfig, RemoteVersion};
use proto::platform::crossing;
use proto::{Qos, TopicFilter, hops};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most rules of one bridge: each is a subscription.
const RULES_MAX: usize = 100;

/// Everything about a bridge but its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BridgeConfig {
    /// The other broker, and who the bridge is there.
    pub(crate) remote: RemoteConfig,
    /// What is carried; for a message the first rule that fits it.
    pub(crate) rules: Vec<Rule>,
    /// The bounds of what waits to go out.
    #[serde(default)]
    pub(crate) queue: QueueConfig,
    /// The most bridges that a message may have crossed, this one included.
    #[serde(default = "hops_max")]
    pub(crate) hops_max: u8,
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Direction {
    /// From the remote broker.
    In,
    /// To the remote broker.
    Out,
    /// Both.
    Both,
}

/// One rule: topics `<local_prefix><rest>` here are `<remote_prefix><rest>` there, `<rest>` being of `filter`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) direction: Direction,
    pub(crate) filter: String,
    #[serde(default)]
    pub(crate) local_prefix: String,
    #[serde(default)]
    pub(crate) remote_prefix: String,
    /// The highest QoS that is used, 0 or 1.
    #[serde(default = "one")]
    pub(crate) qos: u8,
    /// Whether the RETAIN flag is passed on.
    #[serde(default = "yes")]
    pub(crate) retain: bool,
}

/// What waits to go out, and what goes first when it is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct QueueConfig {
    /// Messages, 1 to 10,000,000.
    pub(crate) messages_max: u64,
    /// Bytes, at least 1024.
    pub(crate) bytes_max: u64,
    /// Which message is dropped at a bound.
    pub(crate) policy: Policy,
}

/// Which message is dropped at a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Policy {
    /// The one that has just come.
    #[default]
    DropNewest,
    /// Those that have waited longest.
    DropOldest,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self { messages_max: 100_000, bytes_max: 256 * 1024 * 1024, policy: Policy::default() }
    }
}

fn hops_max() -> u8 {
    8
}

fn one() -> u8 {
    1
}

fn yes() -> bool {
    true
}

impl Rule {
    pub(crate) fn goes_out(&self) -> bool {
        self.direction != Direction::In
    }

    pub(crate) fn comes_in(&self) -> bool {
        self.direction != Direction::Out
    }

    pub(crate) fn qos(&self) -> Qos {
        if self.qos == 0 { Qos::AtMostOnce } else { Qos::AtLeastOnce }
    }

    /// The filter in this namespace.
    pub(crate) fn local_filter(&self) -> Result<TopicFilter, ConfigError> {
        filter(&self.local_prefix, &self.filter, "local_prefix")
    }

    /// The filter at the remote broker.
    pub(crate) fn remote_filter(&self) -> Result<TopicFilter, ConfigError> {
        filter(&self.remote_prefix, &self.filter, "remote_prefix")
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.qos > 1 {
            let reason = "it must be 0 or 1; messages of QoS 2 cross a bridge with QoS 1";
            return Err(refused("qos", reason));
        }
        let local = self.local_filter()?;
        self.remote_filter()?;
        if crossing::is_private(local.as_str()) {
            let reason = "requests to the admin API and replies do not cross bridges";
            return Err(refused("filter", reason));
        }
        Ok(())
    }
}

impl BridgeConfig {
    /// Checks every value, and that no message can come straight back.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.remote.check().map_err(|error| below(error, "remote"))?;
        if self.rules.is_empty() || self.rules.len() > RULES_MAX {
            return Err(refused("rules", "there must be 1 to 100"));
        }
        for (index, rule) in self.rules.iter().enumerate() {
            rule.check().map_err(|error| below(error, &format!("rules[{index}]")))?;
        }
        let QueueConfig { messages_max, bytes_max, .. } = self.queue;
        if !(1..=10_000_000).contains(&messages_max) {
            return Err(refused("queue.messages_max", "it must be 1 to 10000000"));
        }
        if !(1024..=1 << 40).contains(&bytes_max) {
            return Err(refused("queue.bytes_max", "it must be 1024 to 1099511627776"));
        }
        if !(1..=hops::HOPS_MAX).contains(&usize::from(self.hops_max)) {
            return Err(refused("hops_max", "it must be 1 to 32"));
        }
        match self.remote.version {
            RemoteVersion::V5 => Ok(()),
            RemoteVersion::V3 => self.check_loop(self),
        }
    }

    /// MQTT 3.1.1 can neither mark a message nor leave out what a client has published itself, so what this bridge
    /// sends must not be what `other`, which leads to the same broker, takes.
    pub(crate) fn check_loop(&self, other: &Self) -> Result<(), ConfigError> {
        for (index, out) in self.rules.iter().enumerate().filter(|(_, rule)| rule.goes_out()) {
            let sent = out.remote_filter()?;
            for taken in other.rules.iter().filter(|rule| rule.comes_in()) {
                let taken = taken.remote_filter()?;
                if sent.overlaps(&taken) {
                    let reason = format!(
                        "what goes out to {sent} would come back by {taken}: MQTT 3.1.1 cannot \
                         prevent that; use version 5, or prefixes that keep them apart"
                    );
                    return Err(refused(&format!("rules[{index}]"), reason));
                }
            }
        }
        Ok(())
    }

    /// Whether both lead to one broker in a protocol version that cannot mark messages.
    pub(crate) fn may_loop_with(&self, other: &Self) -> bool {
        let is_plain = |it: &Self| it.remote.version == RemoteVersion::V3;
        (is_plain(self) || is_plain(other))
            && self.remote.host_and_port() == other.remote.host_and_port()
    }
}

fn filter(prefix: &str, filter: &str, field: &str) -> Result<TopicFilter, ConfigError> {
    if prefix.contains(['+', '#']) {
        return Err(refused(field, "a prefix holds no wildcard"));
    }
    if prefix.starts_with("$share/") || filter.starts_with("$share/") {
        return Err(refused("filter", "a bridge is no member of a shared subscription"));
    }
    TopicFilter::parse(format!("{prefix}{filter}"))
        .map_err(|error| refused(field, format!("`{prefix}{filter}` is no topic filter: {error}")))
}

fn refused(field: &str, reason: impl Into<String>) -> ConfigError {
    ConfigError::new(field, reason)
}

fn below(error: ConfigError, field: &str) -> ConfigError {
    ConfigError { field: format!("{field}.{}", error.field), ..error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(direction: Direction, filter: &str, local: &str, remote: &str) -> Rule {
        Rule {
            direction,
            filter: filter.to_owned(),
            local_prefix: local.to_owned(),
            remote_prefix: remote.to_owned(),
            qos: 1,
            retain: true,
        }
    }

    fn bridge(version: RemoteVersion, rules: Vec<Rule>) -> BridgeConfig {
        let remote = RemoteConfig { version, ..RemoteConfig::new("mqtt://hub", "b") };
        BridgeConfig { remote, rules, queue: QueueConfig::default(), hops_max: 8 }
    }

    #[test]
    fn what_cannot_be_mapped_is_refused_by_field() {
        use Direction::{Both, In, Out};
        let cases = [
            (rule(Out, "#", "plant/", ""), None),
            (rule(Both, "+/x", "", "edge/"), None),
            (rule(Out, "#", "plant", ""), Some("rules[0].local_prefix")),
            (rule(In, "a/#/b", "", ""), Some("rules[0].local_prefix")),
            (rule(In, "#", "", "x/+/"), Some("rules[0].remote_prefix")),
            (rule(Out, "", "", ""), Some("rules[0].local_prefix")),
            (rule(Out, "#", "admin/", ""), Some("rules[0].filter")),
            (rule(Out, "$share/g/#", "", ""), Some("rules[0].filter")),
            (Rule { qos: 2, ..rule(Out, "#", "", "") }, Some("rules[0].qos")),
        ];
        for (rule, field) in cases {
            let outcome = bridge(RemoteVersion::V5, vec![rule.clone()]).check();
            assert_eq!(outcome.err().map(|it| it.field).as_deref(), field, "{rule:?}");
        }
        assert!(bridge(RemoteVersion::V5, vec![]).check().is_err());
    }

    #[test]
    fn without_marks_nothing_may_come_straight_back() {
        use Direction::{Both, In, Out};
        let cases = [
            (vec![rule(Both, "a/#", "", "")], false),
            (vec![rule(Out, "#", "", "up/"), rule(In, "#", "", "down/")], true),
            (vec![rule(Out, "a/#", "", ""), rule(In, "+/b", "", "")], false),
            (vec![rule(Out, "#", "", "x/")], true),
        ];
        for (rules, is_good) in cases {
            assert_eq!(
                bridge(RemoteVersion::V3, rules.clone()).check().is_ok(),
                is_good,
                "{rules:?}"
            );
            assert_eq!(bridge(RemoteVersion::V5, rules).check(), Ok(()));
        }
    }
}
