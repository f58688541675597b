//! What an operator says about a remote broker, with its limits.

use super::tls::{Dialer, RemoteTls};
use super::url::Address;
use crate::config::ConfigError;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// The longest client id of a bridge, in bytes. Longer ones are legal and of no use.
const CLIENT_ID_BYTES_MAX: usize = 256;

/// The longest user name or secret, in bytes; room for a token.
const CREDENTIAL_BYTES_MAX: usize = 16 * 1024;

/// How the remote broker is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub enum RemoteVersion {
    /// MQTT 3.1.1.
    #[serde(rename = "3.1.1")]
    V3,
    /// MQTT 5.0.
    #[default]
    #[serde(rename = "5")]
    V5,
}

impl<'de> Deserialize<'de> for RemoteVersion {
    /// As text, or as the number that a command line makes of it.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Given {
            Text(String),
            Number(u64),
        }
        match Given::deserialize(deserializer)? {
            Given::Text(text) if text == "3.1.1" => Ok(Self::V3),
            Given::Text(text) if text == "5" || text == "5.0" => Ok(Self::V5),
            Given::Number(5) => Ok(Self::V5),
            _ => Err(serde::de::Error::custom("the version must be `3.1.1` or `5`")),
        }
    }
}

/// A remote broker and the client of it that a bridge is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoteConfig {
    /// `mqtt://host[:port]`, or `mqtts://host[:port]` for TLS.
    pub url: String,
    /// What TLS is spoken with.
    #[serde(default, skip_serializing_if = "RemoteTls::is_empty")]
    pub tls: RemoteTls,
    /// The client id there; it names the session, so no other client may have it.
    pub client_id: String,
    /// The user name there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// The password there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The protocol version: `3.1.1` or `5`.
    #[serde(default)]
    pub version: RemoteVersion,
    /// Keep alive in seconds, 5 to 3600: how long a dead connection may go unnoticed.
    #[serde(default = "keep_alive_secs")]
    pub keep_alive_secs: u16,
    /// Whether each connection begins a new session; messages of the remote broker are then lost between two.
    #[serde(default)]
    pub clean_start: bool,
    /// Seconds that the remote broker keeps the session, MQTT 5.0 only.
    #[serde(default = "session_expiry_secs")]
    pub session_expiry_secs: u32,
    /// The most messages in flight, 1 to 1000, each way.
    #[serde(default = "inflight_max")]
    pub inflight_max: u16,
}

fn keep_alive_secs() -> u16 {
    30
}

/// A week: as long as a hub may be down without losing what waits for it there.
fn session_expiry_secs() -> u32 {
    7 * 24 * 3600
}

fn inflight_max() -> u16 {
    100
}

impl RemoteConfig {
    /// A broker with all the defaults.
    pub fn new(url: &str, client_id: &str) -> Self {
        Self {
            url: url.to_owned(),
            tls: RemoteTls::default(),
            client_id: client_id.to_owned(),
            user_name: None,
            secret: None,
            version: RemoteVersion::default(),
            keep_alive_secs: keep_alive_secs(),
            clean_start: false,
            session_expiry_secs: session_expiry_secs(),
            inflight_max: inflight_max(),
        }
    }

    /// Checks every value against its limits; does no I/O.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.dialer()?;
        match self.client_id.len() {
            1..=CLIENT_ID_BYTES_MAX if !self.client_id.contains('\0') => {}
            _ => return Err(ConfigError::new("client_id", "it must have 1 to 256 bytes")),
        }
        for (field, value) in [("user_name", &self.user_name), ("secret", &self.secret)] {
            if value.as_ref().is_some_and(|it| it.len() > CREDENTIAL_BYTES_MAX || it.contains('\0'))
            {
                return Err(ConfigError::new(field, "it must have at most 16384 bytes"));
            }
        }
        if self.secret.is_some() && self.user_name.is_none() {
            return Err(ConfigError::new("user_name", "a secret needs a user name"));
        }
        if !(5..=3600).contains(&self.keep_alive_secs) {
            return Err(ConfigError::new("keep_alive_secs", "it must be 5 to 3600"));
        }
        if !(1..=1000).contains(&self.inflight_max) {
            return Err(ConfigError::new("inflight_max", "it must be 1 to 1000"));
        }
        Ok(())
    }

    /// What connections are made with if they are to be TLS.
    pub(super) fn dialer(&self) -> Result<Option<Dialer>, ConfigError> {
        let address = self.address()?;
        if address.is_tls {
            return self.tls.dialer(&address).map(Some);
        }
        if self.tls.is_empty() {
            return Ok(None);
        }
        Err(ConfigError::new("tls", "it needs an address that begins with mqtts://"))
    }

    pub(super) fn address(&self) -> Result<Address, ConfigError> {
        Address::parse(&self.url).map_err(|reason| ConfigError::new("url", reason))
    }

    /// Host and port, to tell whether two bridges lead to one broker.
    pub fn host_and_port(&self) -> Option<(String, u16)> {
        self.address().ok().map(|it| (it.host, it.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Spoil = fn(&mut RemoteConfig);

    #[test]
    fn values_outside_the_limits_are_refused_by_field() {
        let good = RemoteConfig::new("mqtt://hub", "edge");
        assert_eq!(good.check(), Ok(()));
        assert_eq!(RemoteConfig::new("mqtts://hub", "edge").check(), Ok(()));
        let cases: [(&str, Spoil); 6] = [
            ("url", |it| it.url = "hub".into()),
            ("tls", |it| it.tls.server_name = Some("hub".into())),
            ("client_id", |it| it.client_id.clear()),
            ("user_name", |it| it.secret = Some("s".into())),
            ("keep_alive_secs", |it| it.keep_alive_secs = 1),
            ("inflight_max", |it| it.inflight_max = 0),
        ];
        for (field, change) in cases {
            let mut config = good.clone();
            change(&mut config);
            assert_eq!(config.check().unwrap_err().field, field);
        }
    }
}
