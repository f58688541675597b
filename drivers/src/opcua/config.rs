//! The options of one OPC UA connection. `README.md` beside this file explains them to operators.

use super::event_fields;
use super::profile::ServerProfile;
use crate::config::{ConfigError, TIMEOUT_MS_DEFAULT, check_address, check_timeout_ms};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The shortest publishing interval, in milliseconds.
pub const PUBLISHING_INTERVAL_MS_MIN: u32 = 10;
/// The longest publishing interval, in milliseconds: a value that is older is nobody's current value.
pub const PUBLISHING_INTERVAL_MS_MAX: u32 = 3_600_000;
/// The default publishing interval, in milliseconds.
pub const PUBLISHING_INTERVAL_MS_DEFAULT: u32 = 500;
/// The most values of one point that the server keeps between two publishes.
pub const QUEUE_SIZE_MAX: u32 = 10_000;
/// The most nodes in one request, unless the server or the operator says less.
pub const NODES_PER_REQUEST_MAX: u32 = 1000;
/// How far back history is asked for, in seconds: a day, unless told otherwise.
const BACKFILL_MAX_SECS_DEFAULT: u32 = 86_400;
/// The furthest, in seconds: thirty days.
const BACKFILL_MAX_SECS_MAX: u32 = 30 * 86_400;
/// The longest user name or secret, in bytes.
const USER_BYTES_MAX: usize = 1024;
/// The longest certificate or key, in bytes of PEM.
const PEM_BYTES_MAX: usize = 16_384;
/// The most server certificates that one connection trusts: one, and those that will replace it.
const TRUSTED_MAX: usize = 16;
/// The highest severity of an event (OPC 10000-5, 6.4.2).
const SEVERITY_MAX: u16 = 1000;

/// How messages are signed and encrypted (OPC 10000-7, security policies); the deprecated ones are not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecurityPolicy {
    /// The strongest that the server offers for this kind of user, with the strongest mode.
    #[default]
    Auto,
    /// Neither signed nor encrypted.
    None,
    /// Basic256Sha256.
    Basic256Sha256,
    /// Aes128_Sha256_RsaOaep.
    Aes128Sha256RsaOaep,
    /// Aes256_Sha256_RsaPss.
    Aes256Sha256RsaPss,
}

/// Whether messages are encrypted as well as signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecurityMode {
    /// Signed and encrypted.
    #[default]
    SignAndEncrypt,
    /// Signed only: whoever is on the way can read, and not change.
    Sign,
}

/// As whom to come in; absent: as nobody (anonymous).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields)]
pub enum OpcUaUser {
    /// With a name and a secret.
    Name {
        /// The name.
        name: String,
        /// The secret.
        secret: String,
    },
    /// With a certificate of the user, which is another than that of the application.
    Certificate {
        /// X.509 in PEM.
        certificate: String,
        /// Its RSA key in PEM.
        key: String,
    },
}

impl std::fmt::Debug for OpcUaUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name { name, .. } => write!(f, "Name({name:?})"),
            Self::Certificate { .. } => f.write_str("Certificate"),
        }
    }
}

/// One connection to one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpcUaConfig {
    /// Where the server listens: `opc.tcp://host:port/path`. What host it gives itself does not matter.
    pub url: String,
    /// How messages are protected.
    #[serde(default)]
    pub security_policy: SecurityPolicy,
    /// Whether they are encrypted as well as signed; of no meaning with the policy `none`.
    #[serde(default)]
    pub security_mode: SecurityMode,
    /// As whom to come in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<OpcUaUser>,
    /// Certificates of the server that are trusted besides those of the project's trust list, as SHA-256 in hexadecimal
    /// digits; `drivers test` tells the one that the server has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted: Vec<String>,
    /// Whether a trusted certificate counts that is not valid yet or any more, for machines without a clock.
    #[serde(default)]
    pub ignore_validity: bool,
    /// How long to wait for an answer, in milliseconds, 10 to 60 000.
    #[serde(default = "timeout_ms_default")]
    pub timeout_ms: u32,
    /// Whether the server pushes changes; `false` for servers without subscriptions, whose points are then polled.
    #[serde(default = "yes")]
    pub subscribe: bool,
    /// How often the server sends what has changed, in milliseconds, 10 to 3 600 000.
    #[serde(default = "publishing_interval_ms_default")]
    pub publishing_interval_ms: u32,
    /// How many values of one point the server keeps between two publishes, the oldest going first, 1 to 10 000.
    #[serde(default = "queue_size_default")]
    pub queue_size: u32,
    /// Whether the server leaves out what a tag's `deadband` would, so that it need not be sent. Many servers then do
    /// not tell of a value that becomes NaN.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub server_deadband: bool,
    /// The most nodes that the server takes in one request, 1 to 1000, for servers that take fewer than they say.
    #[serde(default = "nodes_per_request_max_default")]
    pub nodes_per_request_max: u32,
    /// Of which product the limits are taken into account, where they are other than what it says of itself.
    #[serde(default, skip_serializing_if = "ServerProfile::is_auto")]
    pub profile: ServerProfile,
    /// Fields of events that are told besides those of the standard, by the names that they get: a browse name below
    /// the event such as `2:Batch`, `nsu=http://acme/plc;Batch` or `2:Order/2:Id`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub event_fields: BTreeMap<String, String>,
    /// The least severity of events that are told, 1 to 1000; 1: all of them.
    #[serde(default = "event_severity_min_default")]
    pub event_severity_min: u16,
    /// After an outage, how far back the server is asked for the values that it has kept meanwhile, in seconds, up to
    /// 2 592 000; 0: not at all.
    #[serde(default = "backfill_max_secs_default")]
    pub backfill_max_secs: u32,
}

fn event_severity_min_default() -> u16 {
    1
}

fn backfill_max_secs_default() -> u32 {
    BACKFILL_MAX_SECS_DEFAULT
}

fn timeout_ms_default() -> u32 {
    // An OPC UA server looks a thousand nodes up in one request.
    5 * TIMEOUT_MS_DEFAULT
}

fn yes() -> bool {
    true
}

fn publishing_interval_ms_default() -> u32 {
    PUBLISHING_INTERVAL_MS_DEFAULT
}

fn queue_size_default() -> u32 {
    1
}

fn nodes_per_request_max_default() -> u32 {
    NODES_PER_REQUEST_MAX
}

impl OpcUaConfig {
    /// The configuration of a connection to `url` with every other option at its default.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            security_policy: SecurityPolicy::default(),
            security_mode: SecurityMode::default(),
            user: None,
            trusted: Vec::new(),
            ignore_validity: false,
            timeout_ms: timeout_ms_default(),
            subscribe: true,
            publishing_interval_ms: PUBLISHING_INTERVAL_MS_DEFAULT,
            queue_size: 1,
            server_deadband: false,
            nodes_per_request_max: NODES_PER_REQUEST_MAX,
            profile: ServerProfile::default(),
            event_fields: BTreeMap::new(),
            event_severity_min: 1,
            backfill_max_secs: BACKFILL_MAX_SECS_DEFAULT,
        }
    }

    /// Checks every value against its limits.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_url(&self.url)?;
        check_timeout_ms(self.timeout_ms)?;
        let ranges = [
            (
                "publishing_interval_ms",
                self.publishing_interval_ms,
                PUBLISHING_INTERVAL_MS_MIN,
                PUBLISHING_INTERVAL_MS_MAX,
            ),
            ("queue_size", self.queue_size, 1, QUEUE_SIZE_MAX),
            ("nodes_per_request_max", self.nodes_per_request_max, 1, NODES_PER_REQUEST_MAX),
            ("backfill_max_secs", self.backfill_max_secs, 0, BACKFILL_MAX_SECS_MAX),
        ];
        for (field, value, min, max) in ranges {
            if !(min..=max).contains(&value) {
                let reason = format!("{value} is not between {min} and {max}");
                return Err(ConfigError::new(field, reason));
            }
        }
        if !(1..=SEVERITY_MAX).contains(&self.event_severity_min) {
            let reason = format!("{} is not between 1 and {SEVERITY_MAX}", self.event_severity_min);
            return Err(ConfigError::new("event_severity_min", reason));
        }
        event_fields::check(&self.event_fields)?;
        if self.trusted.len() > TRUSTED_MAX {
            return Err(ConfigError::new("trusted", format!("at most {TRUSTED_MAX} certificates")));
        }
        for fingerprint in &self.trusted {
            if fingerprint.len() != 64 || !fingerprint.bytes().all(|it| it.is_ascii_hexdigit()) {
                let reason = format!("{fingerprint:?} is no SHA-256 of 64 hexadecimal digits");
                return Err(ConfigError::new("trusted", reason));
            }
        }
        self.check_user()
    }

    fn check_user(&self) -> Result<(), ConfigError> {
        let (fields, max) = match &self.user {
            None => return Ok(()),
            Some(OpcUaUser::Name { name, secret }) => {
                ([("user.name", name), ("user.secret", secret)], USER_BYTES_MAX)
            }
            Some(OpcUaUser::Certificate { certificate, key }) => {
                ([("user.certificate", certificate), ("user.key", key)], PEM_BYTES_MAX)
            }
        };
        for (field, text) in fields {
            if text.is_empty() || text.len() > max {
                return Err(ConfigError::new(field, format!("it must have 1 to {max} bytes")));
            }
        }
        Ok(())
    }
}

fn check_url(url: &str) -> Result<(), ConfigError> {
    let Some(rest) = url.strip_prefix("opc.tcp://") else {
        return Err(ConfigError::new("url", "it must begin with opc.tcp://"));
    };
    let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
    if path.len() > 1024 || path.chars().any(|it| it.is_whitespace() || it.is_control()) {
        return Err(ConfigError::new("url", "the path is longer than 1024 bytes, or has a space"));
    }
    check_address(address).map_err(|error| ConfigError::new("url", error.reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn limits_are_refused_with_the_field() {
        let config = OpcUaConfig::new("opc.tcp://plc:4840/server");
        assert_eq!(config.check(), Ok(()));
        let user =
            |name: &str| Some(OpcUaUser::Name { name: name.to_owned(), secret: "s".to_owned() });
        for (config, field) in [
            (OpcUaConfig { url: "plc:4840".into(), ..config.clone() }, "url"),
            (OpcUaConfig { url: "opc.tcp://plc".into(), ..config.clone() }, "url"),
            (OpcUaConfig { url: "opc.tcp://plc:1/a b".into(), ..config.clone() }, "url"),
            (OpcUaConfig { timeout_ms: 9, ..config.clone() }, "timeout_ms"),
            (OpcUaConfig { publishing_interval_ms: 9, ..config.clone() }, "publishing_interval_ms"),
            (OpcUaConfig { queue_size: 0, ..config.clone() }, "queue_size"),
            (
                OpcUaConfig { nodes_per_request_max: 1001, ..config.clone() },
                "nodes_per_request_max",
            ),
            (OpcUaConfig { backfill_max_secs: 2_592_001, ..config.clone() }, "backfill_max_secs"),
            (OpcUaConfig { trusted: vec!["ab".into()], ..config.clone() }, "trusted"),
            (OpcUaConfig { event_severity_min: 0, ..config.clone() }, "event_severity_min"),
            (OpcUaConfig { event_severity_min: 1001, ..config.clone() }, "event_severity_min"),
            (
                OpcUaConfig {
                    event_fields: [("id".into(), "2:A".into())].into(),
                    ..config.clone()
                },
                "event_fields",
            ),
            (OpcUaConfig { user: user(""), ..config.clone() }, "user.name"),
        ] {
            assert_eq!(config.check().unwrap_err().field, field);
        }
    }

    #[test]
    fn a_user_has_a_name_or_a_certificate_and_never_shows_a_secret() {
        let read = |json| serde_json::from_value::<OpcUaUser>(json);
        let user = read(json!({"name": "u", "secret": "hidden"})).unwrap();
        assert!(!format!("{user:?}").contains("hidden"));
        assert!(read(json!({"certificate": "c", "key": "k"})).is_ok());
        assert!(read(json!({"name": "u"})).is_err());
        assert!(read(json!({"name": "u", "secret": "s", "x": 1})).is_err());
    }
}
