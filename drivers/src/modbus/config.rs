//! The options of one Modbus TCP connection. `README.md` beside this file explains them to
//! operators.

use crate::config::{ConfigError, TIMEOUT_MS_DEFAULT, check_address, check_timeout_ms};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most registers one request may read (Modbus Application Protocol 6.3).
pub const REGISTERS_PER_REQUEST_MAX: u16 = 125;

/// The most coils or discrete inputs one request may read (6.1).
pub const BITS_PER_REQUEST_MAX: u16 = 2000;

/// The default gap: 16 unused bytes cost less than the header of one more request.
pub const GAP_REGISTERS_DEFAULT: u16 = 8;

/// The largest gap; two points further apart never fit into one request.
pub const GAP_REGISTERS_MAX: u16 = REGISTERS_PER_REQUEST_MAX - 1;

/// The default unit id: the one that nearly every machine answers to.
pub const UNIT_ID_DEFAULT: u8 = 1;

/// One connection to one unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModbusTcpConfig {
    /// Where the machine or its gateway listens: `host:port`.
    pub address: String,
    /// The unit behind that address; a machine without a gateway often ignores it.
    #[serde(default = "unit_id_default")]
    pub unit_id: u8,
    /// How long to wait for a connection or an answer, in milliseconds, 10 to 60 000.
    #[serde(default = "timeout_ms_default")]
    pub timeout_ms: u32,
    /// How many unused registers a request may read to join two points, 0 to 124; 16 bits count as
    /// one.
    #[serde(default = "gap_registers_default")]
    pub gap_registers: u16,
    /// The most registers the machine takes in one request, 1 to 125.
    #[serde(default = "registers_per_request_max_default")]
    pub registers_per_request_max: u16,
    /// The most coils or discrete inputs the machine takes in one request, 1 to 2000.
    #[serde(default = "bits_per_request_max_default")]
    pub bits_per_request_max: u16,
    /// Whether single coils and registers are written with function codes 15 and 16, for machines
    /// that do not know 5 and 6.
    #[serde(default)]
    pub write_multiple: bool,
}

fn unit_id_default() -> u8 {
    UNIT_ID_DEFAULT
}

fn timeout_ms_default() -> u32 {
    TIMEOUT_MS_DEFAULT
}

fn gap_registers_default() -> u16 {
    GAP_REGISTERS_DEFAULT
}

fn registers_per_request_max_default() -> u16 {
    REGISTERS_PER_REQUEST_MAX
}

fn bits_per_request_max_default() -> u16 {
    BITS_PER_REQUEST_MAX
}

impl ModbusTcpConfig {
    /// The configuration of a connection to `address` with every other option at its default.
    pub fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            unit_id: UNIT_ID_DEFAULT,
            timeout_ms: TIMEOUT_MS_DEFAULT,
            gap_registers: GAP_REGISTERS_DEFAULT,
            registers_per_request_max: REGISTERS_PER_REQUEST_MAX,
            bits_per_request_max: BITS_PER_REQUEST_MAX,
            write_multiple: false,
        }
    }

    /// Checks every value against its limits.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_address(&self.address)?;
        check_timeout_ms(self.timeout_ms)?;
        let ranges = [
            ("gap_registers", self.gap_registers, 0, GAP_REGISTERS_MAX),
            (
                "registers_per_request_max",
                self.registers_per_request_max,
                1,
                REGISTERS_PER_REQUEST_MAX,
            ),
            ("bits_per_request_max", self.bits_per_request_max, 1, BITS_PER_REQUEST_MAX),
        ];
        for (field, value, min, max) in ranges {
            if !(min..=max).contains(&value) {
                let reason = format!("{value} is not between {min} and {max}");
                return Err(ConfigError::new(field, reason));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_refused_with_the_field() {
        let config = ModbusTcpConfig::new("plc:502");
        assert_eq!(config.check(), Ok(()));
        for (config, field) in [
            (ModbusTcpConfig { address: "plc".into(), ..config.clone() }, "address"),
            (ModbusTcpConfig { timeout_ms: 9, ..config.clone() }, "timeout_ms"),
            (ModbusTcpConfig { gap_registers: 125, ..config.clone() }, "gap_registers"),
            (
                ModbusTcpConfig { registers_per_request_max: 0, ..config.clone() },
                "registers_per_request_max",
            ),
            (
                ModbusTcpConfig { registers_per_request_max: 126, ..config.clone() },
                "registers_per_request_max",
            ),
            (
                ModbusTcpConfig { bits_per_request_max: 2001, ..config.clone() },
                "bits_per_request_max",
            ),
        ] {
            assert_eq!(config.check().unwrap_err().field, field);
        }
    }
}
