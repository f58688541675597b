//! `[limits]`: bounds of what clients may use. What happens at each is said in the example file.
//!
//! The defaults are those of the parts that keep the bounds, with their reasons there; here is only
//! what an operator may set, and how far.

use super::Problems;
use broker::{NamespaceLimits, Quotas};
use proto::Namespace;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The section `limits`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LimitsConfig {
    /// The largest MQTT packet that is taken, in bytes.
    pub(crate) packet_bytes_max: usize,
    /// Connections at a time, over all MQTT listeners.
    pub(crate) connections_max: usize,
    /// Sockets that wait for their CONNACK.
    pub(crate) handshakes_max: usize,
    /// Of them, those of one address.
    pub(crate) handshakes_per_address_max: usize,
    /// Milliseconds from accepting a socket to its CONNACK.
    pub(crate) connect_timeout_ms: u64,
    /// Unacknowledged messages taken from one client (MQTT 5.0 Receive Maximum).
    pub(crate) receive_max: u16,
    /// Unacknowledged messages sent to one client.
    pub(crate) inflight_max: u16,
    pub(crate) topic_aliases_max: u16,
    /// Messages that wait in memory for one client.
    pub(crate) queue_messages_max: usize,
    /// Bytes that wait in memory for one client.
    pub(crate) queue_bytes_max: usize,
    /// Messages that wait on disk for one persistent session.
    pub(crate) stored_messages_max: u64,
    /// Bytes that wait on disk for one persistent session.
    pub(crate) stored_bytes_max: u64,
    /// Subscriptions of one session.
    pub(crate) subscriptions_max: usize,
    /// Length of a client id, in bytes.
    pub(crate) client_id_bytes_max: usize,
    /// Length of a topic name or filter, in bytes.
    pub(crate) topic_bytes_max: usize,
    /// Levels of a topic name or filter.
    pub(crate) topic_levels_max: usize,
    /// Memory in use past which new work is refused, in bytes.
    pub(crate) memory_bytes_max: u64,
    /// Retained messages of one namespace.
    pub(crate) retained_messages_max: usize,
    /// Bytes of the retained messages of one namespace.
    pub(crate) retained_bytes_max: usize,
    /// The longest session expiry granted, in seconds.
    pub(crate) session_expiry_max_secs: u32,
    /// The longest keep alive granted, in seconds.
    pub(crate) keep_alive_max_secs: u16,
    /// Messages that one client may publish in a second.
    pub(crate) publish_messages_per_sec_max: u64,
    /// Bytes that one client may publish in a second.
    pub(crate) publish_bytes_per_sec_max: u64,
    /// Milliseconds that a publisher waits for a subscriber that has fallen behind.
    pub(crate) slow_subscriber_wait_ms: u64,
    /// The largest shadow document, in bytes of JSON.
    pub(crate) shadow_bytes_max: usize,
    /// Levels of a shadow document.
    pub(crate) shadow_depth_max: usize,
    /// Changes of a shadow that are kept with who made them.
    pub(crate) shadow_changes_max: u64,
    /// The largest invocation and response of a command, in bytes of JSON.
    pub(crate) command_bytes_max: usize,
    /// Commands of one thing that have yet to end.
    pub(crate) commands_open_max: usize,
    /// Commands of one thing that are remembered after their end.
    pub(crate) commands_remembered_max: usize,
    /// How long they are, in seconds.
    pub(crate) command_remembered_secs: u64,
    /// A device without traffic for so long gives its memory back, in milliseconds.
    pub(crate) device_idle_ms: u64,
    /// Of all clients of one namespace.
    pub(crate) namespace: NamespaceLimits,
    /// Namespaces with other bounds.
    pub(crate) namespaces: BTreeMap<String, NamespaceLimits>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        let broker = broker::Limits::default();
        let actors = actors::Settings::default();
        Self {
            packet_bytes_max: broker.packet_bytes_max,
            connections_max: broker.connections_max,
            connect_timeout_ms: broker.connect_timeout_ms,
            handshakes_max: broker.handshakes_max,
            handshakes_per_address_max: broker.handshakes_per_address_max,
            receive_max: broker.receive_max,
            inflight_max: broker.inflight_max,
            topic_aliases_max: broker.topic_aliases_max,
            queue_messages_max: broker.queue_messages_max,
            queue_bytes_max: broker.queue_bytes_max,
            stored_messages_max: broker.stored_messages_max,
            stored_bytes_max: broker.stored_bytes_max,
            subscriptions_max: broker.subscriptions_max,
            client_id_bytes_max: broker.client_id_bytes_max,
            topic_bytes_max: broker.topic_bytes_max,
            topic_levels_max: broker.topic_levels_max,
            memory_bytes_max: broker.memory_bytes_max,
            retained_messages_max: broker.retained_messages_max,
            retained_bytes_max: broker.retained_bytes_max,
            session_expiry_max_secs: broker.session_expiry_max_secs,
            keep_alive_max_secs: broker.keep_alive_max_secs,
            publish_messages_per_sec_max: broker.publish_messages_per_sec_max,
            publish_bytes_per_sec_max: broker.publish_bytes_per_sec_max,
            slow_subscriber_wait_ms: broker.slow_subscriber_wait_ms,
            shadow_bytes_max: actors.shadow_bytes_max,
            shadow_depth_max: actors.shadow_depth_max,
            shadow_changes_max: actors.shadow_changes_max,
            command_bytes_max: actors.command_bytes_max,
            commands_open_max: actors.commands_open_max,
            commands_remembered_max: actors.commands_remembered_max,
            command_remembered_secs: actors.command_remembered_ms / 1000,
            device_idle_ms: actors.device_idle_ms,
            namespace: NamespaceLimits::default(),
            namespaces: BTreeMap::new(),
        }
    }
}

/// 268,435,455 is the largest remaining length that MQTT can write (MQTT 5.0 1.5.5).
const PACKET_BYTES_MAX: u64 = 268_435_455;

const BYTES_MAX: u64 = 1 << 40;

/// What a rate may be; a second is cut into nanoseconds.
const PER_SEC_MAX: u64 = 1_000_000_000;

impl LimitsConfig {
    pub(super) fn check(&self, problems: &mut Problems) {
        let mut within = |key: &str, value: u64, allowed| {
            problems.within(&format!("limits.{key}"), value, allowed);
        };
        within("packet_bytes_max", self.packet_bytes_max as u64, 1024..=PACKET_BYTES_MAX);
        within("connections_max", self.connections_max as u64, 1..=10_000_000);
        within("handshakes_max", self.handshakes_max as u64, 1..=10_000_000);
        let per_address = self.handshakes_per_address_max as u64;
        within("handshakes_per_address_max", per_address, 1..=10_000_000);
        within("connect_timeout_ms", self.connect_timeout_ms, 100..=600_000);
        within("receive_max", self.receive_max.into(), 1..=65_535);
        within("inflight_max", self.inflight_max.into(), 1..=65_535);
        within("topic_aliases_max", self.topic_aliases_max.into(), 0..=65_535);
        within("queue_messages_max", self.queue_messages_max as u64, 1..=10_000_000);
        within("queue_bytes_max", self.queue_bytes_max as u64, 1024..=BYTES_MAX);
        within("stored_messages_max", self.stored_messages_max, 1..=1_000_000_000);
        within("stored_bytes_max", self.stored_bytes_max, 1024..=BYTES_MAX);
        within("subscriptions_max", self.subscriptions_max as u64, 1..=1_000_000);
        // Every server takes client ids of 23 bytes (MQTT 5.0 3.1.3-5), and the platform needs topics of its own.
        within("client_id_bytes_max", self.client_id_bytes_max as u64, 23..=65_535);
        within("topic_bytes_max", self.topic_bytes_max as u64, 512..=65_535);
        within("topic_levels_max", self.topic_levels_max as u64, 16..=1024);
        within("memory_bytes_max", self.memory_bytes_max, 0..=BYTES_MAX);
        within("retained_messages_max", self.retained_messages_max as u64, 1..=1_000_000_000);
        within("retained_bytes_max", self.retained_bytes_max as u64, 1024..=BYTES_MAX);
        within("keep_alive_max_secs", self.keep_alive_max_secs.into(), 10..=65_535);
        within("slow_subscriber_wait_ms", self.slow_subscriber_wait_ms, 0..=60_000);
        within("shadow_bytes_max", self.shadow_bytes_max as u64, 256..=16 * 1024 * 1024);
        // serde_json reads at most 128 levels.
        within("shadow_depth_max", self.shadow_depth_max as u64, 1..=100);
        within("shadow_changes_max", self.shadow_changes_max, 0..=1000);
        within("command_bytes_max", self.command_bytes_max as u64, 256..=16 * 1024 * 1024);
        within("commands_open_max", self.commands_open_max as u64, 1..=1000);
        within("commands_remembered_max", self.commands_remembered_max as u64, 1..=1000);
        within("command_remembered_secs", self.command_remembered_secs, 1..=30 * 24 * 3600);
        within("device_idle_ms", self.device_idle_ms, 100..=86_400_000);
        let messages = self.publish_messages_per_sec_max;
        within("publish_messages_per_sec_max", messages, 0..=PER_SEC_MAX);
        within("publish_bytes_per_sec_max", self.publish_bytes_per_sec_max, 0..=BYTES_MAX);
        check_namespace("limits.namespace", &self.namespace, problems);
        for (name, limits) in &self.namespaces {
            let key = format!("limits.namespaces.{name}");
            if let Err(error) = Namespace::parse(name) {
                problems.add(&key, error);
            }
            check_namespace(&key, limits, problems);
        }
    }

    /// What the clients of a namespace share.
    pub(crate) fn quotas(&self) -> Quotas {
        let named = self.namespaces.iter();
        let named = named.filter_map(|(name, it)| Some((Namespace::parse(name).ok()?, *it)));
        Quotas { usual: self.namespace, namespaces: named.collect() }
    }

    /// The bounds that the broker keeps.
    pub(crate) fn broker(&self) -> broker::Limits {
        broker::Limits {
            packet_bytes_max: self.packet_bytes_max,
            connections_max: self.connections_max,
            connect_timeout_ms: self.connect_timeout_ms,
            handshakes_max: self.handshakes_max,
            handshakes_per_address_max: self.handshakes_per_address_max,
            receive_max: self.receive_max,
            inflight_max: self.inflight_max,
            topic_aliases_max: self.topic_aliases_max,
            queue_messages_max: self.queue_messages_max,
            queue_bytes_max: self.queue_bytes_max,
            stored_messages_max: self.stored_messages_max,
            stored_bytes_max: self.stored_bytes_max,
            subscriptions_max: self.subscriptions_max,
            client_id_bytes_max: self.client_id_bytes_max,
            topic_bytes_max: self.topic_bytes_max,
            topic_levels_max: self.topic_levels_max,
            memory_bytes_max: self.memory_bytes_max,
            retained_messages_max: self.retained_messages_max,
            retained_bytes_max: self.retained_bytes_max,
            session_expiry_max_secs: self.session_expiry_max_secs,
            keep_alive_max_secs: self.keep_alive_max_secs,
            publish_messages_per_sec_max: self.publish_messages_per_sec_max,
            publish_bytes_per_sec_max: self.publish_bytes_per_sec_max,
            slow_subscriber_wait_ms: self.slow_subscriber_wait_ms,
            ..broker::Limits::default()
        }
    }

    /// The bounds that the actors keep.
    pub(crate) fn actors(&self) -> actors::Settings {
        actors::Settings {
            shadow_bytes_max: self.shadow_bytes_max,
            shadow_depth_max: self.shadow_depth_max,
            shadow_changes_max: self.shadow_changes_max,
            command_bytes_max: self.command_bytes_max,
            commands_open_max: self.commands_open_max,
            commands_remembered_max: self.commands_remembered_max,
            command_remembered_ms: self.command_remembered_secs * 1000,
            device_idle_ms: self.device_idle_ms,
            ..actors::Settings::default()
        }
    }
}

fn check_namespace(key: &str, limits: &NamespaceLimits, problems: &mut Problems) {
    let mut within = |name: &str, value: u64, max| {
        problems.within(&format!("{key}.{name}"), value, 0..=max);
    };
    within("connections_max", limits.connections_max as u64, 10_000_000);
    within("sessions_max", limits.sessions_max as u64, 1_000_000_000);
    within("connects_per_sec_max", limits.connects_per_sec_max.into(), PER_SEC_MAX);
    within("publish_messages_per_sec_max", limits.publish_messages_per_sec_max, PER_SEC_MAX);
    within("publish_bytes_per_sec_max", limits.publish_bytes_per_sec_max, BYTES_MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_configured_is_what_the_parts_get() {
        let limits = LimitsConfig::default();
        assert_eq!(limits.broker(), broker::Limits::default());
        let other = LimitsConfig { connections_max: 7, shadow_depth_max: 3, ..limits };
        assert_eq!(other.broker().connections_max, 7);
        assert_eq!(other.actors().shadow_depth_max, 3);
    }

    #[test]
    fn a_namespace_that_is_named_has_its_own_bounds() {
        let usual = NamespaceLimits { connections_max: 7, ..NamespaceLimits::default() };
        let own = NamespaceLimits { connects_per_sec_max: 5, ..NamespaceLimits::default() };
        let namespaces = BTreeMap::from([("acme/plant".to_owned(), own)]);
        let limits = LimitsConfig { namespace: usual, namespaces, ..LimitsConfig::default() };
        let quotas = limits.quotas();
        assert_eq!(quotas.usual, usual);
        assert_eq!(quotas.namespaces[&Namespace::parse("acme/plant").unwrap()], own);
    }
}
