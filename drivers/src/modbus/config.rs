//! The options of one Modbus connection, over TCP or a serial line. `README.md` beside this file explains them to
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

/// The longest name of a serial port, in bytes.
const PORT_BYTES_MAX: usize = 255;

/// The rates of a serial line, in bits a second.
pub const BAUD_RATES: [u32; 12] =
    [300, 600, 1200, 2400, 4800, 9600, 19_200, 38_400, 57_600, 115_200, 230_400, 460_800];

/// How requests and answers are told apart on the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// With the header of Modbus TCP; only over TCP.
    #[default]
    Tcp,
    /// Binary with a CRC (Modbus over Serial Line 1.02, 2.5.1).
    Rtu,
    /// Hexadecimal digits with an LRC (2.5.2).
    Ascii,
}

/// The parity of a serial line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Parity {
    /// Even, which is what the specification asks for (2.5.1).
    #[default]
    Even,
    /// Odd.
    Odd,
    /// None, which asks for two stop bits.
    None,
}

/// One connection to one unit over TCP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModbusTcpConfig {
    /// Where the machine or its gateway listens: `host:port`.
    pub address: String,
    /// How frames are told apart: `tcp`, or as on a serial line behind a converter that only passes bytes on.
    #[serde(default)]
    pub framing: Framing,
    /// Whether all drivers of this address that say so use one connection, and send one request at a time.
    #[serde(default)]
    pub shared: bool,
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
    /// Whether a write that is verified writes and reads back by one request, function code 23, for machines that
    /// know it; registers only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub write_and_read: bool,
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
            framing: Framing::default(),
            shared: false,
            unit_id: UNIT_ID_DEFAULT,
            timeout_ms: TIMEOUT_MS_DEFAULT,
            gap_registers: GAP_REGISTERS_DEFAULT,
            registers_per_request_max: REGISTERS_PER_REQUEST_MAX,
            bits_per_request_max: BITS_PER_REQUEST_MAX,
            write_multiple: false,
            write_and_read: false,
        }
    }

    /// Checks every value against its limits.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_address(&self.address)?;
        self.options().check()
    }

    /// What does not depend on the line.
    pub(crate) fn options(&self) -> Options {
        let Self { ref address, framing, shared: is_shared, .. } = *self;
        Options {
            line: Line::Tcp { address: address.clone(), framing, is_shared },
            unit_id: self.unit_id,
            timeout_ms: self.timeout_ms,
            gap_registers: self.gap_registers,
            registers_per_request_max: self.registers_per_request_max,
            bits_per_request_max: self.bits_per_request_max,
            write_multiple: self.write_multiple,
            write_and_read: self.write_and_read,
        }
    }
}

/// One unit at a serial line, which its driver shares with those of other units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModbusSerialConfig {
    /// The serial port: `/dev/ttyUSB0`, `COM3`.
    pub port: String,
    /// How frames are told apart: `rtu` or `ascii`.
    #[serde(default = "rtu")]
    pub framing: Framing,
    /// Bits a second: one of the usual rates, 300 to 460 800.
    #[serde(default = "baud_rate_default")]
    pub baud_rate: u32,
    /// The parity.
    #[serde(default)]
    pub parity: Parity,
    /// Bits of a character, 7 or 8.
    #[serde(default = "data_bits_default")]
    pub data_bits: u8,
    /// Bits after each character, 1 or 2.
    #[serde(default = "stop_bits_default")]
    pub stop_bits: u8,
    /// The unit at the line.
    #[serde(default = "unit_id_default")]
    pub unit_id: u8,
    /// How long to wait for an answer, in milliseconds, 10 to 60 000.
    #[serde(default = "timeout_ms_default")]
    pub timeout_ms: u32,
    /// How many unused registers a request may read to join two points, 0 to 124; 16 bits count as one.
    #[serde(default = "gap_registers_default")]
    pub gap_registers: u16,
    /// The most registers the machine takes in one request, 1 to 125.
    #[serde(default = "registers_per_request_max_default")]
    pub registers_per_request_max: u16,
    /// The most coils or discrete inputs the machine takes in one request, 1 to 2000.
    #[serde(default = "bits_per_request_max_default")]
    pub bits_per_request_max: u16,
    /// Whether single coils and registers are written with function codes 15 and 16, for machines that do not know 5
    /// and 6.
    #[serde(default)]
    pub write_multiple: bool,
    /// Whether a write that is verified writes and reads back by one request, function code 23, for machines that
    /// know it; registers only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub write_and_read: bool,
}

fn rtu() -> Framing {
    Framing::Rtu
}

fn baud_rate_default() -> u32 {
    19_200
}

fn data_bits_default() -> u8 {
    8
}

fn stop_bits_default() -> u8 {
    1
}

impl ModbusSerialConfig {
    /// The configuration of a line at `port` with every other option at its default.
    pub fn new(port: &str) -> Self {
        Self {
            port: port.to_owned(),
            framing: rtu(),
            baud_rate: baud_rate_default(),
            parity: Parity::default(),
            data_bits: data_bits_default(),
            stop_bits: stop_bits_default(),
            unit_id: UNIT_ID_DEFAULT,
            timeout_ms: TIMEOUT_MS_DEFAULT,
            gap_registers: GAP_REGISTERS_DEFAULT,
            registers_per_request_max: REGISTERS_PER_REQUEST_MAX,
            bits_per_request_max: BITS_PER_REQUEST_MAX,
            write_multiple: false,
            write_and_read: false,
        }
    }

    /// Checks every value against its limits.
    pub fn check(&self) -> Result<(), ConfigError> {
        let refuse = |field: &str, reason: String| Err(ConfigError::new(field, reason));
        if self.port.is_empty() || self.port.len() > PORT_BYTES_MAX || self.port.contains('\0') {
            return refuse("port", format!("it must have 1 to {PORT_BYTES_MAX} bytes"));
        }
        if self.framing == Framing::Tcp {
            return refuse("framing", "a serial line is rtu or ascii".to_owned());
        }
        if !BAUD_RATES.contains(&self.baud_rate) {
            return refuse("baud_rate", format!("{} is none of {BAUD_RATES:?}", self.baud_rate));
        }
        if !(7..=8).contains(&self.data_bits) {
            return refuse("data_bits", "it must be 7 or 8".to_owned());
        }
        if self.data_bits == 7 && self.framing == Framing::Rtu {
            return refuse("data_bits", "rtu needs 8".to_owned());
        }
        if !(1..=2).contains(&self.stop_bits) {
            return refuse("stop_bits", "it must be 1 or 2".to_owned());
        }
        self.options().check()
    }

    /// What does not depend on the line.
    pub(crate) fn options(&self) -> Options {
        Options {
            line: Line::Serial(self.clone()),
            unit_id: self.unit_id,
            timeout_ms: self.timeout_ms,
            gap_registers: self.gap_registers,
            registers_per_request_max: self.registers_per_request_max,
            bits_per_request_max: self.bits_per_request_max,
            write_multiple: self.write_multiple,
            write_and_read: self.write_and_read,
        }
    }
}

/// The way to a machine.
#[derive(Debug, Clone)]
pub(crate) enum Line {
    Tcp { address: String, framing: Framing, is_shared: bool },
    Serial(ModbusSerialConfig),
}

impl Line {
    /// What it is called in messages.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Tcp { address, .. } => address,
            Self::Serial(config) => &config.port,
        }
    }

    /// The setting in which a line of the same name differs.
    pub(crate) fn differs_from(&self, other: &Self) -> Option<&'static str> {
        match (self, other) {
            (Self::Tcp { framing, .. }, Self::Tcp { framing: of_other, .. }) => {
                (framing != of_other).then_some("framing")
            }
            (Self::Serial(own), Self::Serial(other)) => {
                let settings = [
                    ("framing", own.framing == other.framing),
                    ("baud_rate", own.baud_rate == other.baud_rate),
                    ("parity", own.parity == other.parity),
                    ("data_bits", own.data_bits == other.data_bits),
                    ("stop_bits", own.stop_bits == other.stop_bits),
                ];
                settings.into_iter().find(|(_, is_same)| !is_same).map(|(name, _)| name)
            }
            _ => Some("protocol"),
        }
    }
}

/// The options that every line has.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) line: Line,
    pub(crate) unit_id: u8,
    pub(crate) timeout_ms: u32,
    pub(crate) gap_registers: u16,
    pub(crate) registers_per_request_max: u16,
    pub(crate) bits_per_request_max: u16,
    pub(crate) write_multiple: bool,
    pub(crate) write_and_read: bool,
}

impl Options {
    fn check(&self) -> Result<(), ConfigError> {
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

    #[test]
    fn limits_of_a_serial_line_are_refused_with_the_field() {
        let config = ModbusSerialConfig::new("/dev/ttyUSB0");
        assert_eq!(config.check(), Ok(()));
        for (config, field) in [
            (ModbusSerialConfig { port: String::new(), ..config.clone() }, "port"),
            (ModbusSerialConfig { framing: Framing::Tcp, ..config.clone() }, "framing"),
            (ModbusSerialConfig { baud_rate: 9601, ..config.clone() }, "baud_rate"),
            (ModbusSerialConfig { data_bits: 7, ..config.clone() }, "data_bits"),
            (ModbusSerialConfig { stop_bits: 3, ..config.clone() }, "stop_bits"),
            (ModbusSerialConfig { timeout_ms: 9, ..config.clone() }, "timeout_ms"),
        ] {
            assert_eq!(config.check().unwrap_err().field, field);
        }
        let ascii = ModbusSerialConfig { framing: Framing::Ascii, data_bits: 7, ..config };
        assert_eq!(ascii.check(), Ok(()));
    }
}
