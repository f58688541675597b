//! `[[listen.listener]]`: a listener with settings of its own, as many as are wanted.

use super::Addresses;
use crate::config::Problems;
use crate::config::tls::{ClientNameKey, TlsTable};
use broker::{ListenerKind, Network};
use proto::Namespace;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListenerTable {
    /// Its name in logs and in the list of connections.
    pub(crate) name: String,
    /// What is spoken there.
    pub(crate) kind: KindKey,
    /// Where.
    pub(crate) address: Addresses,
    /// Its TLS; absent: that of `[tls]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<TlsTable>,
    /// The proxies whose PROXY header is believed, and without which nobody comes in.
    #[serde(
        default,
        deserialize_with = "networks",
        serialize_with = "network_texts",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(crate) proxy_protocol: Vec<Network>,
    /// What of a client's certificate is its user name; absent: what its TLS says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_name: Option<ClientNameKey>,
    /// The only namespace that is let in.
    #[serde(
        default,
        deserialize_with = "namespace",
        serialize_with = "namespace_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) namespace: Option<Namespace>,
    /// Connections at a time; 0: only `limits.connections_max` counts.
    #[serde(default)]
    pub(crate) connections_max: usize,
    /// New connections a second; 0: any number.
    #[serde(default)]
    pub(crate) connects_per_sec_max: u32,
}

impl ListenerTable {
    pub(super) fn check(&self, key: &str, common: &TlsTable, problems: &mut Problems) {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(is_plain) {
            let why = "1 to 64 letters, digits, `-`, `_`, `.` are needed";
            problems.add(&format!("{key}.name"), why);
        }
        if self.address.0.is_empty() {
            problems.add(&format!("{key}.address"), "an address is needed");
        }
        if self.kind.has_tls() {
            match &self.tls {
                Some(own) => own.check(&format!("{key}.tls"), true, problems),
                None => common.check("tls", true, problems),
            }
        } else if self.tls.is_some() {
            let why = "only a listener of kind mqtts or wss has it";
            problems.add(&format!("{key}.tls"), why);
        }
    }

    /// Its TLS, if it speaks that.
    pub(crate) fn tls<'a>(&'a self, common: &'a TlsTable) -> Option<&'a TlsTable> {
        self.kind.has_tls().then(|| self.tls.as_ref().unwrap_or(common))
    }
}

/// What is spoken on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KindKey {
    /// MQTT.
    Mqtt,
    /// MQTT over TLS.
    Mqtts,
    /// MQTT over WebSocket.
    Ws,
    /// MQTT over WebSocket over TLS.
    Wss,
}

impl KindKey {
    /// Whether there is TLS in it.
    pub(crate) fn has_tls(self) -> bool {
        matches!(self, Self::Mqtts | Self::Wss)
    }

    /// What is spoken within TLS, if there is any.
    pub(crate) fn broker(self) -> ListenerKind {
        match self {
            Self::Mqtt | Self::Mqtts => ListenerKind::Mqtt,
            Self::Ws | Self::Wss => ListenerKind::WebSocket,
        }
    }
}

fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Network>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}

fn network_texts<S: Serializer>(networks: &[Network], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(networks.iter().map(ToString::to_string))
}

fn namespace<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Namespace>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Namespace::parse(&text).map(Some).map_err(serde::de::Error::custom)
}

fn namespace_text<S: Serializer>(
    namespace: &Option<Namespace>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match namespace {
        Some(namespace) => serializer.collect_str(namespace),
        None => serializer.serialize_none(),
    }
}
