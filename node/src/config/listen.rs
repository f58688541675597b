//! `[listen]`: the sockets of the node, each an address or a list of them.
//!
//! `""` turns a listener off; port 0 lets the system pick one, which the log then tells. Without
//! TLS a secret crosses the network readable, so the defaults listen on loopback only.

use super::Problems;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::net::{Ipv4Addr, SocketAddr};

/// The most addresses of one listener: a machine has few interfaces.
const ADDRESSES_MAX: usize = 16;

/// The section `listen`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ListenConfig {
    /// MQTT over TCP.
    pub(crate) mqtt: Addresses,
    /// MQTT over TLS.
    pub(crate) mqtts: Addresses,
    /// MQTT over WebSocket.
    pub(crate) ws: Addresses,
    /// MQTT over WebSocket over TLS.
    pub(crate) wss: Addresses,
    /// Health, metrics.
    pub(crate) http: Addresses,
}

impl Default for ListenConfig {
    /// The registered MQTT port, and the ports that other brokers have made customary.
    fn default() -> Self {
        Self {
            mqtt: Addresses::loopback(1883),
            mqtts: Addresses::default(),
            ws: Addresses::loopback(8083),
            wss: Addresses::default(),
            http: Addresses::loopback(8080),
        }
    }
}

impl ListenConfig {
    pub(super) fn check(&self, problems: &mut Problems) {
        let all = [
            ("listen.mqtt", &self.mqtt),
            ("listen.mqtts", &self.mqtts),
            ("listen.ws", &self.ws),
            ("listen.wss", &self.wss),
            ("listen.http", &self.http),
        ];
        for (key, addresses) in all {
            if addresses.0.len() > ADDRESSES_MAX {
                problems.add(key, format_args!("more than {ADDRESSES_MAX} addresses"));
            }
        }
        for (key, addresses) in [("listen.mqtts", &self.mqtts), ("listen.wss", &self.wss)] {
            if !addresses.0.is_empty() {
                problems.add(key, "TLS is not available in this version; leave it \"\"");
            }
        }
    }
}

/// Where one listener listens; none turns it off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Addresses(pub(crate) Vec<SocketAddr>);

impl Addresses {
    /// One address on 127.0.0.1.
    pub(crate) fn loopback(port: u16) -> Self {
        Self(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))])
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "an address such as \"127.0.0.1:1883\", a list of them, or \"\"")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = match OneOrMany::deserialize(deserializer)? {
            OneOrMany::One(text) if text.is_empty() => Vec::new(),
            OneOrMany::One(text) => vec![text],
            OneOrMany::Many(texts) => texts,
        };
        let parse = |text: String| {
            text.parse().map_err(|_| {
                serde::de::Error::custom(format_args!(
                    "`{text}` is not an address such as 127.0.0.1:1883 or [::]:1883"
                ))
            })
        };
        texts.into_iter().map(parse).collect::<Result<_, _>>().map(Self)
    }
}

impl Serialize for Addresses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [] => serializer.serialize_str(""),
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }
}
