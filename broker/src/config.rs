//! The bounds of the broker, with their defaults and why these.

use crate::group::SharedStrategy;
use crate::overload::rate::Rate;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Every bound of the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Longest packet taken from a client, in bytes (MQTT 5.0 3.2.2.3.6).
    pub packet_bytes_max: usize,
    /// Longest CONNECT, in bytes: all that an unauthenticated socket may fill.
    pub connect_bytes_max: usize,
    /// Milliseconds from accepting a socket to its CONNACK.
    pub connect_timeout_ms: u64,
    /// Sockets that wait for their CONNACK at once; further ones are closed at once.
    pub handshakes_max: usize,
    /// Of them, those of one address.
    pub handshakes_per_address_max: usize,
    /// Sockets open at once; further ones are closed at once.
    pub connections_max: usize,
    /// QoS 1 and 2 messages of one client that are not yet acknowledged (our Receive Maximum, MQTT 5.0 3.2.2.3.3).
    pub receive_max: u16,
    /// QoS 1 and 2 messages in flight to one client; less if the client's own Receive Maximum is less.
    pub inflight_max: u16,
    /// Topic aliases on one connection, in each direction; to a client no more than it allows (MQTT 5.0 3.3.2.3.4).
    pub topic_aliases_max: u16,
    /// Messages waiting in memory for one client.
    pub queue_messages_max: usize,
    /// Bytes waiting in memory for one client.
    pub queue_bytes_max: usize,
    /// Messages waiting in the store for one durable session; what happens to further ones says [`QueueFull`].
    pub stored_messages_max: u64,
    /// Bytes waiting in the store for one durable session.
    pub stored_bytes_max: u64,
    /// Subscriptions of one session.
    pub subscriptions_max: usize,
    /// Length of a client id, in bytes.
    pub client_id_bytes_max: usize,
    /// Length of a topic name or filter, in bytes.
    pub topic_bytes_max: usize,
    /// Levels of a topic name or filter.
    pub topic_levels_max: usize,
    /// Retained messages of one namespace.
    pub retained_messages_max: usize,
    /// Bytes of the retained messages of one namespace.
    pub retained_bytes_max: usize,
    /// Longest time, in seconds, that a session outlives its connection.
    pub session_expiry_max_secs: u32,
    /// Longest keep alive granted, in seconds; also given to clients that ask for none.
    pub keep_alive_max_secs: u16,
    /// Memory in use past which new work is refused, in bytes; 0: 70 percent of what the machine or control group has.
    pub memory_bytes_max: u64,
    /// Messages that one client may publish in a second; past it the client is slowed. 0: any number.
    pub publish_messages_per_sec_max: u64,
    /// Bytes of PUBLISH packets of one client in a second; past it the client is slowed. 0: any number.
    pub publish_bytes_per_sec_max: u64,
    /// Milliseconds a publisher waits for a subscriber that has fallen behind, before messages are dropped.
    pub slow_subscriber_wait_ms: u64,
    /// Milliseconds a publisher waits for a part of the platform that has fallen behind.
    pub platform_wait_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            packet_bytes_max: 1024 * 1024,
            // Room for a will with a payload of its longest, and for long tokens as passwords.
            connect_bytes_max: 160 * 1024,
            connect_timeout_ms: 10_000,
            handshakes_max: 10_000,
            // A plant behind one address that comes back all at once; a tenth of the places.
            handshakes_per_address_max: 1000,
            connections_max: 100_000,
            receive_max: 1024,
            inflight_max: 1024,
            topic_aliases_max: 64,
            queue_messages_max: 10_000,
            queue_bytes_max: 16 * 1024 * 1024,
            stored_messages_max: 100_000,
            stored_bytes_max: 1024 * 1024 * 1024,
            subscriptions_max: 1000,
            // Longer than any that people or programs make; it is kept as long as the session.
            client_id_bytes_max: 1024,
            // As long as MQTT can write (MQTT 5.0 4.7.3-3).
            topic_bytes_max: proto::topic::TOPIC_BYTES_MAX,
            // A match looks at each level; a filter takes a node for each.
            topic_levels_max: 128,
            retained_messages_max: 1_000_000,
            retained_bytes_max: 512 * 1024 * 1024,
            session_expiry_max_secs: 30 * 24 * 3600,
            keep_alive_max_secs: 3600,
            memory_bytes_max: 0,
            // What is much for one site is little for another.
            publish_messages_per_sec_max: 0,
            publish_bytes_per_sec_max: 0,
            slow_subscriber_wait_ms: 100,
            platform_wait_ms: 30_000,
        }
    }
}

impl Limits {
    /// What one client may publish.
    pub(crate) fn publish_rate(&self) -> Rate {
        Rate {
            messages_per_sec: self.publish_messages_per_sec_max,
            bytes_per_sec: self.publish_bytes_per_sec_max,
        }
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }
}

/// What the broker does where several ways are right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policies {
    /// How a shared subscription spreads its messages over its members.
    pub shared_strategy: SharedStrategy,
    /// What happens to a message for a session whose queue is full.
    pub queue_full: QueueFull,
    /// Seconds between two publications of the figures under `$SYS`; 0 for none.
    pub sys_interval_secs: u32,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            shared_strategy: SharedStrategy::default(),
            queue_full: QueueFull::default(),
            sys_interval_secs: 10,
        }
    }
}

/// What happens to a message for a session whose queue is full, in memory or in the store. Whatever is lost is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueFull {
    /// It is dropped.
    #[default]
    DropNewest,
    /// The oldest message that has not been sent is dropped in its place.
    DropOldest,
    /// Nobody gets it: the publisher is told 0x97 (MQTT 5.0 3.4.2.1); before MQTT 5.0 its connection ends. One of
    /// QoS 0, whose publisher cannot be told, is dropped.
    Refuse,
}
