//! What an operator says about a machine: its protocol with its options, and its tags.
//!
//! These are the forms that are stored and shown by the admin API. Unknown keys are refused while
//! reading; `check` then refuses values outside the limits, with the path of the field. What a
//! protocol asks of an address is checked by [`open()`](crate::open()), which does no I/O either.

use crate::modbus::{ModbusSerialConfig, ModbusTcpConfig};
use crate::mqtt::MqttConfig;
use crate::opcua::OpcUaConfig;
use crate::simulator::SimulatorConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

mod data_type;
mod tag;

pub use data_type::{ByteOrder, DataType, TEXT_BYTES_MAX};
pub use tag::{
    Access, Deadband, LABEL_BYTES_MAX, LABELS_MAX, POLL_INTERVAL_MS_DEFAULT, POLL_INTERVAL_MS_MAX,
    POLL_INTERVAL_MS_MIN, PRECISION_MAX, Publish, TagConfig, TagKind,
};

/// The most tags of one driver. At the default poll interval even a slow machine keeps up with this
/// many when they are contiguous; more tags mean a second driver.
pub const TAGS_MAX: usize = 10_000;

/// The shortest time-out, in milliseconds; below, a busy but healthy machine would be taken for
/// lost.
pub const TIMEOUT_MS_MIN: u32 = 10;

/// The longest time-out, in milliseconds; above, a lost machine would not be noticed.
pub const TIMEOUT_MS_MAX: u32 = 60_000;

/// The default time-out, in milliseconds: a hundred times what a machine in the same plant takes.
pub const TIMEOUT_MS_DEFAULT: u32 = 1000;

/// The longest network address, in bytes: a host name of 253 bytes, a colon and a port.
pub const ADDRESS_BYTES_MAX: usize = 259;

/// One connection to one machine, by protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "protocol", rename_all = "snake_case")]
pub enum DriverConfig {
    /// Modbus over TCP.
    ModbusTcp(ModbusTcpConfig),
    /// Modbus at a serial line.
    ModbusSerial(ModbusSerialConfig),
    /// OPC UA.
    #[serde(rename = "opcua")]
    OpcUa(OpcUaConfig),
    /// Devices that speak MQTT in their own way.
    Mqtt(MqttConfig),
    /// A machine that is not there.
    Simulator(SimulatorConfig),
}

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}: {reason}", self.path())]
pub struct ConfigError {
    /// Which of the tags is refused, by its place among those that were given; `None` if it is not about one.
    pub tag: Option<usize>,
    /// The field, such as `timeout_ms`, of the tag or of the driver.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl ConfigError {
    /// A refusal of `field`.
    pub fn new(field: &str, reason: impl Into<String>) -> Self {
        Self { tag: None, field: field.to_owned(), reason: reason.into() }
    }

    /// The same refusal, of the tag at `index`.
    pub(crate) fn of_tag(self, index: usize) -> Self {
        Self { tag: Some(index), ..self }
    }

    /// The path of the field, such as `timeout_ms` or `tags[3].address`.
    pub fn path(&self) -> String {
        match self.tag {
            Some(tag) => format!("tags[{tag}].{}", self.field),
            None => self.field.clone(),
        }
    }
}

impl DriverConfig {
    /// Checks every value against its limits; says nothing of tags.
    pub fn check(&self) -> Result<(), ConfigError> {
        match self {
            Self::ModbusTcp(config) => config.check(),
            Self::ModbusSerial(config) => config.check(),
            Self::OpcUa(config) => config.check(),
            Self::Mqtt(config) => config.check(),
            Self::Simulator(config) => config.check(),
        }
    }

    /// Whether the machine has tags of a kind.
    pub(crate) fn has(&self, kind: TagKind) -> bool {
        match (self, kind) {
            (_, TagKind::Value | TagKind::Virtual) | (Self::OpcUa(_), TagKind::Method) => true,
            (Self::OpcUa(config), TagKind::Events) => config.subscribe,
            (
                Self::ModbusTcp(_) | Self::ModbusSerial(_) | Self::Mqtt(_) | Self::Simulator(_),
                _,
            ) => false,
        }
    }

    /// The name of the protocol, as in the field `protocol`.
    pub fn protocol(&self) -> &'static str {
        match self {
            Self::ModbusTcp(_) => "modbus_tcp",
            Self::ModbusSerial(_) => "modbus_serial",
            Self::OpcUa(_) => "opcua",
            Self::Mqtt(_) => "mqtt",
            Self::Simulator(_) => "simulator",
        }
    }
}

/// Refuses a time-out outside [`TIMEOUT_MS_MIN`] and [`TIMEOUT_MS_MAX`].
pub(crate) fn check_timeout_ms(timeout_ms: u32) -> Result<(), ConfigError> {
    if (TIMEOUT_MS_MIN..=TIMEOUT_MS_MAX).contains(&timeout_ms) {
        return Ok(());
    }
    let reason = format!("{timeout_ms} is not between {TIMEOUT_MS_MIN} and {TIMEOUT_MS_MAX}");
    Err(ConfigError::new("timeout_ms", reason))
}

/// Refuses what cannot be `host:port`; whether the host exists shows at `connect`.
pub(crate) fn check_address(address: &str) -> Result<(), ConfigError> {
    let refuse = |reason: &str| Err(ConfigError::new("address", reason));
    if address.len() > ADDRESS_BYTES_MAX {
        return refuse("longer than 259 bytes");
    }
    let Some((host, port)) = address.rsplit_once(':') else {
        return refuse("it must read host:port");
    };
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || (host.contains(':') && !is_bracketed) {
        return refuse("it must read host:port, an IPv6 host in brackets");
    }
    if host.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/') {
        return refuse("the host contains a space, a control character or a slash");
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(()),
        _ => refuse("the port is not a number between 1 and 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form_takes_the_defaults() {
        let json = r#"{"protocol":"modbus_tcp","address":"plc1:502"}"#;
        let config: DriverConfig = serde_json::from_str(json).unwrap();
        assert_eq!(config.check(), Ok(()));
        assert_eq!(config.protocol(), "modbus_tcp");
        let DriverConfig::ModbusTcp(modbus) = &config else { panic!("{config:?}") };
        assert_eq!((modbus.unit_id, modbus.timeout_ms), (1, TIMEOUT_MS_DEFAULT));
        let stored = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<DriverConfig>(&stored).unwrap(), config);
    }

    #[test]
    fn an_unknown_key_or_protocol_is_refused() {
        for (json, named) in [
            (r#"{"protocol":"modbus_tcp","address":"a:1","time_out":1}"#, "time_out"),
            (r#"{"protocol":"modbus","address":"a:1"}"#, "modbus"),
            (r#"{"address":"a:1"}"#, "protocol"),
            (r#"{"protocol":"modbus_tcp"}"#, "address"),
        ] {
            let error = serde_json::from_str::<DriverConfig>(json).unwrap_err().to_string();
            assert!(error.contains(named), "{json}: {error}");
        }
    }

    #[test]
    fn addresses() {
        for good in ["127.0.0.1:502", "plc-1.plant.local:502", "[::1]:502", "a:65535"] {
            assert_eq!(check_address(good), Ok(()), "{good}");
        }
        let long = format!("{}:502", "x".repeat(260));
        for bad in ["", "plc", ":502", "plc:", "plc:0", "plc:65536", "::1:502", "a b:1", &long] {
            assert_eq!(check_address(bad).unwrap_err().field, "address", "{bad}");
        }
    }

    #[test]
    fn timeouts() {
        for (timeout_ms, is_good) in [(9, false), (10, true), (60_000, true), (60_001, false)] {
            assert_eq!(check_timeout_ms(timeout_ms).is_ok(), is_good, "{timeout_ms}");
        }
    }
}
