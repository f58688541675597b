//! The rows of the register map, ordered by area and offset.

use super::DataType::{Bool, Float32, Int16, Uint16, Uint32};
use super::{Access, Area, DataType, Point as P, Register};

const TANK: &str = "tank1";
const PUMP: &str = "pump1";
const VALVE: &str = "valve1";
const OVEN: &str = "oven1";

/// What a raw count means, and the highest value that a write may carry.
#[derive(Clone, Copy)]
struct Scale {
    per_count: f64,
    unit: &'static str,
    highest: f64,
}

impl Scale {
    const fn new(per_count: f64, unit: &'static str) -> Self {
        Self { per_count, unit, highest: 0.0 }
    }

    const fn up_to(self, highest: f64) -> Self {
        Self { highest, ..self }
    }
}

const CENTI_PERCENT: Scale = Scale::new(0.01, "%");
const DECI_PERCENT: Scale = Scale::new(0.1, "%");
const DECI_CEL: Scale = Scale::new(0.1, "Cel");
const DECI_L_PER_MIN: Scale = Scale::new(0.1, "L/min");
const CENTI_AMPERE: Scale = Scale::new(0.01, "A");
const LITRE: Scale = Scale::new(1.0, "L");
const SECOND: Scale = Scale::new(1.0, "s");
const KILOWATT: Scale = Scale::new(1.0, "kW");
const BIT: Scale = Scale::new(1.0, "");
const SET_PERCENT: Scale = DECI_PERCENT.up_to(100.0);
const SET_CEL: Scale = DECI_CEL.up_to(300.0);
const SET_L_PER_MIN: Scale = DECI_L_PER_MIN.up_to(200.0);
const SET_KW: Scale = KILOWATT.up_to(12.0);

#[rustfmt::skip] // A table reads as a table: one row a register.
pub(super) static REGISTERS: [Register; 26] = [
    coil(TANK, "supply_enabled", 0, P::SupplyEnabled, "supply into the tank is open"),
    coil(PUMP, "enabled", 1, P::PumpEnabled, "pump shall run"),
    coil(OVEN, "heater_enabled", 2, P::OvenHeaterEnabled, "oven may heat"),

    discrete(TANK, "high_level", 0, P::TankHighLevel, "level at or above 90 %"),
    discrete(TANK, "low_level", 1, P::TankLowLevel, "level below 10 %"),
    discrete(PUMP, "running", 2, P::PumpRunning, "shaft turns"),
    discrete(PUMP, "dry_run", 3, P::PumpDryRun, "held: tank ran dry"),
    discrete(VALVE, "closed", 4, P::ValveClosed, "valve is tight"),
    discrete(OVEN, "at_setpoint", 5, P::OvenAtSetpoint, "within 2 K of the setpoint"),

    input(TANK, "level", 0, Uint16, CENTI_PERCENT, P::TankLevel, "level of the liquid"),
    input(TANK, "temperature", 1, Int16, DECI_CEL, P::TankTemperature, "temperature of the liquid"),
    input(TANK, "inflow", 2, Uint16, DECI_L_PER_MIN, P::TankInflow, "flow into the tank"),
    input(TANK, "outflow", 3, Uint16, DECI_L_PER_MIN, P::TankOutflow, "flow out of the tank"),
    input(TANK, "volume", 4, Float32, LITRE, P::TankVolume, "volume of the liquid"),
    input(TANK, "delivered", 6, Uint32, LITRE, P::TankDelivered, "delivered since the start"),
    input(PUMP, "speed", 8, Uint16, DECI_PERCENT, P::PumpSpeed, "speed of the shaft"),
    input(PUMP, "current", 9, Uint16, CENTI_AMPERE, P::PumpCurrent, "motor current"),
    input(PUMP, "running_time", 10, Uint32, SECOND, P::PumpRunningTime, "time the shaft turned"),
    input(VALVE, "position", 12, Uint16, DECI_PERCENT, P::ValvePosition, "position, 0 is closed"),
    input(OVEN, "temperature", 13, Int16, DECI_CEL, P::OvenTemperature, "temperature of the oven"),
    input(OVEN, "power", 14, Float32, KILOWATT, P::OvenPower, "heater power"),

    holding(VALVE, "position_setpoint", 0, Uint16, SET_PERCENT, P::ValveSetpoint, "wanted opening"),
    holding(PUMP, "speed_setpoint", 1, Uint16, SET_PERCENT, P::PumpSpeedSetpoint, "wanted speed"),
    holding(TANK, "supply_setpoint", 2, Uint16, SET_L_PER_MIN, P::SupplySetpoint, "wanted inflow"),
    holding(OVEN, "temperature_setpoint", 3, Int16, SET_CEL, P::OvenSetpoint, "wanted temperature"),
    holding(OVEN, "heater_limit", 4, Float32, SET_KW, P::OvenHeaterLimit, "highest heater power"),
];

type Text = &'static str;

const fn coil(asset: Text, name: Text, offset: u16, point: P, description: Text) -> Register {
    let register = input(asset, name, offset, Bool, BIT, point, description);
    Register { area: Area::Coil, access: Access::ReadWrite, range: (0.0, 1.0), ..register }
}

const fn discrete(asset: Text, name: Text, offset: u16, point: P, description: Text) -> Register {
    let register = input(asset, name, offset, Bool, BIT, point, description);
    Register { area: Area::Discrete, ..register }
}

const fn holding(
    asset: Text,
    name: Text,
    offset: u16,
    data_type: DataType,
    scale: Scale,
    point: P,
    description: Text,
) -> Register {
    let register = input(asset, name, offset, data_type, scale, point, description);
    let range = (0.0, scale.highest);
    Register { area: Area::Holding, access: Access::ReadWrite, range, ..register }
}

const fn input(
    asset: Text,
    name: Text,
    offset: u16,
    data_type: DataType,
    scale: Scale,
    point: P,
    description: Text,
) -> Register {
    Register {
        asset,
        name,
        area: Area::Input,
        offset,
        data_type,
        unit: scale.unit,
        scale: scale.per_count,
        access: Access::Read,
        range: (0.0, 0.0),
        description,
        point,
    }
}
