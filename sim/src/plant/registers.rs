//! The register map of the plant, as data.
//!
//! One row a point: where it lives, how it is encoded, what may be written; the rows are in `map`.
//! The server answers from this table, `manifold-sim plant --registers` prints it, and `manifold
//! demo` makes its tags from it. Offsets are zero based; 32-bit values take two registers, most
//! significant word first (`ABCD`). Areas have no gaps, so a client may read an area in one
//! request.

mod map;

use serde::Serialize;

use crate::table::markdown;

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
}

/// The register map of the plant, ordered by area and offset.
#[must_use]
pub fn register_map() -> &'static [Register] {
    &map::REGISTERS
}

/// The register map as a Markdown table, one line a register.
#[must_use]
pub fn registers_text() -> String {
    let header = ["tag", "address", "type", "unit", "scale", "access", "range", "description"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for register in register_map() {
        let range = match register.access {
            Access::Read => String::new(),
            Access::ReadWrite => format!("{}..{}", register.range.0, register.range.1),
        };
        rows.push(vec![
            register.tag(),
            register.address(),
            register.data_type.name().to_owned(),
            register.unit.to_owned(),
            register.scale.to_string(),
            register.access.name().to_owned(),
            range,
            register.description.to_owned(),
        ]);
    }
    markdown(&rows, header.len())
}

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
    fn the_readme_shows_the_table_as_it_is_printed() {
        let text = registers_text();
        assert_eq!(text.lines().count(), register_map().len() + 2);
        let readme = include_str!("../../README.md");
        assert!(readme.contains(&text), "put this into sim/README.md:\n{text}");
    }
}
