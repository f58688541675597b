//! The register map of the plant, as data.
//!
//! One row a point: where it lives, how it is encoded, what may be written. The server answers from
//! this table, `manifold-sim plant --registers` prints it, and `manifold demo` makes its tags from it.
//! Offsets are zero based; 32-bit values take two registers, most significant word first (`ABCD`).
//! Areas have no gaps, so a client may read an area in one request.

use std::fmt::Write as _;

use serde::Serialize;

/// One of the four Modbus data tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// Single bits, read and written (function codes 1, 5, 15).
    Coil,
    /// Single bits, read only (function code 2).
    Discrete,
    /// 16-bit words, read only (function code 4).
    Input,
    /// 16-bit words, read and written (function codes 3, 6, 16).
    Holding,
}

impl Area {
    /// The name used in addresses: `coil`, `discrete`, `input` or `holding`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Coil => "coil",
            Self::Discrete => "discrete",
            Self::Input => "input",
            Self::Holding => "holding",
        }
    }
}

/// How a value is laid out in bits or registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DataType {
    /// One coil or discrete input.
    Bool,
    /// One register, unsigned.
    Uint16,
    /// One register, two's complement.
    Int16,
    /// Two registers, unsigned.
    Uint32,
    /// Two registers, IEEE 754 single precision.
    Float32,
}

impl DataType {
    /// The name used in tag lists, for example `uint16`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Uint16 => "uint16",
            Self::Int16 => "int16",
            Self::Uint32 => "uint32",
            Self::Float32 => "float32",
        }
    }

    /// Coils or registers taken by one value.
    #[must_use]
    pub const fn width(self) -> u16 {
        match self {
            Self::Bool | Self::Uint16 | Self::Int16 => 1,
            Self::Uint32 | Self::Float32 => 2,
        }
    }
}

/// Whether a client may write a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Measured by the plant.
    Read,
    /// Set by a client, read back as set.
    ReadWrite,
}

impl Access {
    /// The name used in tag lists: `read` or `read_write`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::ReadWrite => "read_write",
        }
    }
}

/// The quantity behind a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the description is a column of the register map")]
pub enum Point {
    TankLevel,
    TankTemperature,
    TankInflow,
    TankOutflow,
    TankVolume,
    TankDelivered,
    TankHighLevel,
    TankLowLevel,
    SupplyEnabled,
    SupplySetpoint,
    PumpEnabled,
    PumpSpeedSetpoint,
    PumpSpeed,
    PumpCurrent,
    PumpRunningTime,
    PumpRunning,
    PumpDryRun,
    ValveSetpoint,
    ValvePosition,
    ValveClosed,
    OvenSetpoint,
    OvenTemperature,
    OvenHeaterEnabled,
    OvenHeaterLimit,
    OvenPower,
    OvenAtSetpoint,
}

/// One row of the register map.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Register {
    /// The machine it belongs to, for example `tank1`.
    pub asset: &'static str,
    /// The quantity within the machine, for example `level`.
    pub name: &'static str,
    /// The Modbus table.
    pub area: Area,
    /// Zero-based offset in the table.
    pub offset: u16,
    /// Layout of the value.
    #[serde(rename = "type")]
    pub data_type: DataType,
    /// UCUM unit, empty for bits.
    pub unit: &'static str,
    /// Engineering value per raw count.
    pub scale: f64,
    /// Who may change it.
    pub access: Access,
    /// Lowest and highest engineering value that a write may carry.
    pub range: (f64, f64),
    /// What it is, in one line.
    pub description: &'static str,
    /// The quantity of the process.
    #[serde(skip)]
    pub point: Point,
}

impl Register {
    /// The tag name, unique in the plant: `tank1.level`.
    #[must_use]
    pub fn tag(&self) -> String {
        format!("{}.{}", self.asset, self.name)
    }

    /// The address as `area:offset` with a zero-based offset: `input:0`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", self.area.name(), self.offset)
    }

    /// The offset behind the last coil or register of the value.
    #[must_use]
    pub const fn end(&self) -> u16 {
        self.offset + self.data_type.width()
    }

    const fn measured(
        (asset, name): (&'static str, &'static str),
        offset: u16,
        data_type: DataType,
        (scale, unit): (f64, &'static str),
        point: Point,
        description: &'static str,
    ) -> Self {
        let area = if matches!(data_type, DataType::Bool) { Area::Discrete } else { Area::Input };
        let (access, range) = (Access::Read, (0.0, 0.0));
        Self {
            asset,
            name,
            area,
            offset,
            data_type,
            unit,
            scale,
            access,
            range,
            description,
            point,
        }
    }

    const fn set(
        (asset, name): (&'static str, &'static str),
        offset: u16,
        data_type: DataType,
        (scale, unit, highest): (f64, &'static str, f64),
        point: Point,
        description: &'static str,
    ) -> Self {
        let area = if matches!(data_type, DataType::Bool) { Area::Coil } else { Area::Holding };
        let (access, range) = (Access::ReadWrite, (0.0, highest));
        Self {
            asset,
            name,
            area,
            offset,
            data_type,
            unit,
            scale,
            access,
            range,
            description,
            point,
        }
    }
}

/// The register map of the plant, ordered by area and offset.
#[must_use]
pub fn register_map() -> &'static [Register] {
    &REGISTERS
}

/// The register map as a table for people, one line a register.
#[must_use]
pub fn registers_text() -> String {
    let mut text = format!(
        "{:<26}{:<12}{:<9}{:<7}{:<7}{:<12}{:<12}{}\n",
        "tag", "address", "type", "unit", "scale", "access", "range", "description"
    );
    for register in register_map() {
        let range = match register.access {
            Access::Read => String::new(),
            Access::ReadWrite => format!("{}..{}", register.range.0, register.range.1),
        };
        let _ = writeln!(
            text,
            "{:<26}{:<12}{:<9}{:<7}{:<7}{:<12}{:<12}{}",
            register.tag(),
            register.address(),
            register.data_type.name(),
            register.unit,
            register.scale,
            register.access.name(),
            range,
            register.description
        );
    }
    text
}

const BIT: (f64, &str) = (1.0, "");
const SWITCH: (f64, &str, f64) = (1.0, "", 1.0);

use DataType::{Bool, Float32, Int16, Uint16, Uint32};

#[rustfmt::skip] // A table reads as a table: one row a register.
static REGISTERS: [Register; 26] = [
    Register::set(("tank1", "supply_enabled"), 0, Bool, SWITCH, Point::SupplyEnabled, "supply into the tank is open"),
    Register::set(("pump1", "enabled"), 1, Bool, SWITCH, Point::PumpEnabled, "pump shall run"),
    Register::set(("oven1", "heater_enabled"), 2, Bool, SWITCH, Point::OvenHeaterEnabled, "oven may heat"),

    Register::measured(("tank1", "high_level"), 0, Bool, BIT, Point::TankHighLevel, "level at or above 90 %"),
    Register::measured(("tank1", "low_level"), 1, Bool, BIT, Point::TankLowLevel, "level below 10 %"),
    Register::measured(("pump1", "running"), 2, Bool, BIT, Point::PumpRunning, "shaft turns"),
    Register::measured(("pump1", "dry_run"), 3, Bool, BIT, Point::PumpDryRun, "held: tank ran dry"),
    Register::measured(("valve1", "closed"), 4, Bool, BIT, Point::ValveClosed, "valve is tight"),
    Register::measured(("oven1", "at_setpoint"), 5, Bool, BIT, Point::OvenAtSetpoint, "within 2 K of the setpoint"),

    Register::measured(("tank1", "level"), 0, Uint16, (0.01, "%"), Point::TankLevel, "level of the liquid"),
    Register::measured(("tank1", "temperature"), 1, Int16, (0.1, "Cel"), Point::TankTemperature, "temperature of the liquid"),
    Register::measured(("tank1", "inflow"), 2, Uint16, (0.1, "L/min"), Point::TankInflow, "flow into the tank"),
    Register::measured(("tank1", "outflow"), 3, Uint16, (0.1, "L/min"), Point::TankOutflow, "flow out of the tank"),
    Register::measured(("tank1", "volume"), 4, Float32, (1.0, "L"), Point::TankVolume, "volume of the liquid"),
    Register::measured(("tank1", "delivered"), 6, Uint32, (1.0, "L"), Point::TankDelivered, "litres delivered since the start"),
    Register::measured(("pump1", "speed"), 8, Uint16, (0.1, "%"), Point::PumpSpeed, "speed of the shaft"),
    Register::measured(("pump1", "current"), 9, Uint16, (0.01, "A"), Point::PumpCurrent, "motor current"),
    Register::measured(("pump1", "running_time"), 10, Uint32, (1.0, "s"), Point::PumpRunningTime, "seconds the shaft has turned"),
    Register::measured(("valve1", "position"), 12, Uint16, (0.1, "%"), Point::ValvePosition, "position, 0 is closed"),
    Register::measured(("oven1", "temperature"), 13, Int16, (0.1, "Cel"), Point::OvenTemperature, "temperature of the oven"),
    Register::measured(("oven1", "power"), 14, Float32, (1.0, "kW"), Point::OvenPower, "heater power"),

    Register::set(("valve1", "position_setpoint"), 0, Uint16, (0.1, "%", 100.0), Point::ValveSetpoint, "wanted valve position"),
    Register::set(("pump1", "speed_setpoint"), 1, Uint16, (0.1, "%", 100.0), Point::PumpSpeedSetpoint, "wanted pump speed"),
    Register::set(("tank1", "supply_setpoint"), 2, Uint16, (0.1, "L/min", 200.0), Point::SupplySetpoint, "wanted inflow"),
    Register::set(("oven1", "temperature_setpoint"), 3, Int16, (0.1, "Cel", 300.0), Point::OvenSetpoint, "wanted oven temperature"),
    Register::set(("oven1", "heater_limit"), 4, Float32, (1.0, "kW", 12.0), Point::OvenHeaterLimit, "highest heater power"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_filled_without_gaps_or_overlaps() {
        for area in [Area::Coil, Area::Discrete, Area::Input, Area::Holding] {
            let mut next = 0;
            for register in register_map().iter().filter(|register| register.area == area) {
                assert_eq!(register.offset, next, "{}", register.tag());
                next = register.end();
            }
            assert!(next > 0);
        }
    }

    #[test]
    fn tags_and_points_are_unique_and_described() {
        let map = register_map();
        for (i, register) in map.iter().enumerate() {
            assert!(!register.description.is_empty());
            assert!(register.scale > 0.0);
            for other in &map[i + 1..] {
                assert_ne!(register.tag(), other.tag());
                assert_ne!(register.point, other.point);
            }
        }
    }

    #[test]
    fn the_printed_table_has_a_line_for_each_register() {
        let text = registers_text();
        assert_eq!(text.lines().count(), register_map().len() + 1);
        assert!(text.contains("tank1.level               input:0     uint16   %"));
    }
}
