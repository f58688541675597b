//! `[listen]`: the sockets of the node, each an address or a list of them.
//!
//! `""` turns a listener off; port 0 lets the system pick one, which the log then tells. Without
//! TLS a secret crosses the network readable, so the defaults listen on loopback only. Listeners
//! with settings of their own are in [`listener`].

mod listener;

use super::{Problems, TlsTable};
pub(crate) use listener::ListenerTable;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// The most addresses of one listener: a machine has few interfaces.
const ADDRESSES_MAX: usize = 16;

/// The most listeners with settings of their own.
const LISTENERS_MAX: usize = 64;

/// The longest path of a Unix socket that every system takes, with the ending it has at first.
const UNIX_PATH_BYTES_MAX: usize = 90;

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
    /// The path of a Unix socket for MQTT; empty turns it off.
    pub(crate) unix: PathBuf,
    /// Its permissions, in octal.
    pub(crate) unix_mode: String,
    /// Listeners with settings of their own.
    pub(crate) listener: Vec<ListenerTable>,
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
            unix: PathBuf::new(),
            unix_mode: "0660".to_owned(),
            listener: Vec::new(),
        }
    }
}

impl ListenConfig {
    pub(super) fn check(&self, tls: &TlsTable, problems: &mut Problems) {
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
        if self.unix.as_os_str().len() > UNIX_PATH_BYTES_MAX {
            problems.add("listen.unix", format_args!("longer than {UNIX_PATH_BYTES_MAX} bytes"));
        }
        if self.mode().is_none() {
            let why = format_args!("`{}` is not a mode such as \"0660\"", self.unix_mode);
            problems.add("listen.unix_mode", why);
        }
        if self.listener.len() > LISTENERS_MAX {
            problems.add("listen.listener", format_args!("more than {LISTENERS_MAX}"));
        }
        for (index, table) in self.listener.iter().enumerate() {
            table.check(&format!("listen.listener.{index}"), tls, problems);
        }
    }

    /// Whether a listener speaks TLS with the files of `[tls]`.
    pub(super) fn has_tls(&self) -> bool {
        !(self.mqtts.0.is_empty() && self.wss.0.is_empty())
    }

    /// The path and the mode of the Unix socket, if there is to be one.
    pub(crate) fn unix_socket(&self) -> Option<(PathBuf, u32)> {
        let path = Some(self.unix.clone()).filter(|path| !path.as_os_str().is_empty())?;
        Some((path, self.mode()?))
    }

    fn mode(&self) -> Option<u32> {
        u32::from_str_radix(&self.unix_mode, 8).ok().filter(|mode| *mode <= 0o777)
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
