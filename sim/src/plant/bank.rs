//! The plant as a Modbus client sees it: coils, discrete inputs, input and holding registers.
//!
//! Pure: reads encode the process through the register map, writes are decoded, checked as a whole
//! and then take effect together; a refused write changes nothing. Exception codes follow the
//! Modbus Application Protocol 1.1b3, section 7: 2 for an address outside the map, 3 for a quantity
//! or value that is not allowed.

use super::process::{Commands, Process};
use super::registers::{Access, Area, DataType, Point, Register, register_map};

/// Most registers of one read (protocol limit).
const READ_REGISTERS_MAX: usize = 125;
/// Most coils or discrete inputs of one read (protocol limit).
const READ_BITS_MAX: usize = 2000;
/// Most registers of one write (protocol limit).
const WRITE_REGISTERS_MAX: usize = 123;
/// Most coils of one write (protocol limit).
const WRITE_BITS_MAX: usize = 1968;

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exception {
    /// Exception code 2: an address of the request is not in the register map.
    #[error("illegal data address")]
    IllegalAddress,
    /// Exception code 3: a quantity or a value is out of range.
    #[error("illegal data value")]
    IllegalValue,
}

/// The plant with its register map.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plant {
    process: Process,
}

impl Plant {
    /// Moves the process on by `dt_ms` milliseconds.
    pub fn step(&mut self, dt_ms: u64) {
        self.process.step(dt_ms);
    }

    /// The process behind the registers.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Reads `quantity` bits of `area` from `offset`; refuses addresses outside the map.
    pub fn read_bits(
        &self,
        area: Area,
        offset: u16,
        quantity: u16,
    ) -> Result<Vec<bool>, Exception> {
        let words = self.read(area, offset, usize::from(quantity), READ_BITS_MAX)?;
        Ok(words.into_iter().map(|word| word != 0).collect())
    }

    /// Reads `quantity` registers of `area` from `offset`; refuses addresses outside the map.
    pub fn read_registers(
        &self,
        area: Area,
        offset: u16,
        quantity: u16,
    ) -> Result<Vec<u16>, Exception> {
        self.read(area, offset, usize::from(quantity), READ_REGISTERS_MAX)
    }

    /// Writes coils from `offset` on; refuses addresses outside the map and empty writes.
    pub fn write_coils(&mut self, offset: u16, coils: &[bool]) -> Result<(), Exception> {
        let words: Vec<u16> = coils.iter().map(|&is_on| u16::from(is_on)).collect();
        self.write(Area::Coil, offset, &words, WRITE_BITS_MAX)
    }

    /// Writes holding registers from `offset` on; refuses addresses outside the map and values
    /// outside the range of their register.
    pub fn write_registers(&mut self, offset: u16, words: &[u16]) -> Result<(), Exception> {
        self.write(Area::Holding, offset, words, WRITE_REGISTERS_MAX)
    }

    fn read(
        &self,
        area: Area,
        offset: u16,
        quantity: usize,
        quantity_max: usize,
    ) -> Result<Vec<u16>, Exception> {
        if quantity == 0 || quantity > quantity_max {
            return Err(Exception::IllegalValue);
        }
        let words = self.image(area);
        let start = usize::from(offset);
        words.get(start..start + quantity).map(<[u16]>::to_vec).ok_or(Exception::IllegalAddress)
    }

    fn write(
        &mut self,
        area: Area,
        offset: u16,
        words: &[u16],
        quantity_max: usize,
    ) -> Result<(), Exception> {
        if words.is_empty() || words.len() > quantity_max {
            return Err(Exception::IllegalValue);
        }
        let mut image = self.image(area);
        let start = usize::from(offset);
        let end = start + words.len();
        let target = image.get_mut(start..end).ok_or(Exception::IllegalAddress)?;
        target.copy_from_slice(words);

        let mut commands = self.process.commands;
        for register in rows(area) {
            if usize::from(register.end()) <= start || usize::from(register.offset) >= end {
                continue;
            }
            let raw = &image[usize::from(register.offset)..usize::from(register.end())];
            let value = decode(register.data_type, raw) * register.scale;
            let (lowest, highest) = register.range;
            // Written so that a NaN is refused too.
            let is_allowed = value >= lowest && value <= highest;
            if register.access == Access::Read || !is_allowed {
                return Err(Exception::IllegalValue);
            }
            command(&mut commands, register.point, value);
        }
        self.process.commands = commands;
        Ok(())
    }

    /// The whole area as raw words; bits take one word each.
    fn image(&self, area: Area) -> Vec<u16> {
        let mut words = Vec::new();
        for register in rows(area) {
            let counts = measure(&self.process, register.point) / register.scale;
            encode(register.data_type, counts, &mut words);
        }
        words
    }
}

fn rows(area: Area) -> impl Iterator<Item = &'static Register> {
    register_map().iter().filter(move |register| register.area == area)
}

/// Appends `counts` in the layout of `data_type`; what does not fit is clamped, as instruments do.
fn encode(data_type: DataType, counts: f64, words: &mut Vec<u16>) {
    // Float-to-integer casts saturate, which is the clamping that is wanted here.
    match data_type {
        DataType::Bool => words.push(u16::from(counts != 0.0)),
        DataType::Uint16 => words.push(counts.round() as u16),
        DataType::Int16 => words.push((counts.round() as i16).cast_unsigned()),
        DataType::Uint32 => push_u32(counts as u32, words),
        DataType::Float32 => push_u32((counts as f32).to_bits(), words),
    }
}

fn push_u32(value: u32, words: &mut Vec<u16>) {
    words.push((value >> 16) as u16);
    words.push(value as u16);
}

fn decode(data_type: DataType, words: &[u16]) -> f64 {
    let first = words[0];
    let both = || (u32::from(first) << 16) | u32::from(words[1]);
    match data_type {
        DataType::Bool => f64::from(u8::from(first != 0)),
        DataType::Uint16 => f64::from(first),
        DataType::Int16 => f64::from(first.cast_signed()),
        DataType::Uint32 => f64::from(both()),
        DataType::Float32 => f64::from(f32::from_bits(both())),
    }
}

/// The engineering value of a point; bits are 0 or 1.
fn measure(process: &Process, point: Point) -> f64 {
    let bit = |is_on: bool| f64::from(u8::from(is_on));
    let commands = &process.commands;
    match point {
        Point::TankLevel => process.level_percent(),
        Point::TankTemperature => process.tank_temperature_c,
        Point::TankInflow => process.inflow_l_per_min,
        Point::TankOutflow => process.outflow_l_per_min,
        Point::TankVolume => process.volume_l,
        Point::TankDelivered => process.delivered_l,
        Point::TankHighLevel => bit(process.level_percent() >= 90.0),
        Point::TankLowLevel => bit(process.level_percent() < 10.0),
        Point::SupplyEnabled => bit(commands.supply_enabled),
        Point::SupplySetpoint => commands.supply_l_per_min,
        Point::PumpEnabled => bit(commands.pump_enabled),
        Point::PumpSpeedSetpoint => commands.pump_speed_percent,
        Point::PumpSpeed => process.pump_speed_percent,
        Point::PumpCurrent => process.pump_current_a,
        Point::PumpRunningTime => process.pump_running_ms as f64 / 1000.0,
        Point::PumpRunning => bit(process.is_pump_running()),
        Point::PumpDryRun => bit(process.is_pump_tripped),
        Point::ValveSetpoint => commands.valve_position_percent,
        Point::ValvePosition => process.valve_position_percent,
        Point::ValveClosed => bit(process.is_valve_closed()),
        Point::OvenSetpoint => commands.oven_temperature_c,
        Point::OvenTemperature => process.oven_temperature_c,
        Point::OvenHeaterEnabled => bit(commands.heater_enabled),
        Point::OvenHeaterLimit => commands.heater_limit_kw,
        Point::OvenPower => process.heater_kw,
        Point::OvenAtSetpoint => bit(process.is_oven_at_setpoint()),
    }
}

/// Sets the command behind a writable point; measured points have none.
fn command(commands: &mut Commands, point: Point, value: f64) {
    match point {
        Point::SupplyEnabled => commands.supply_enabled = value != 0.0,
        Point::SupplySetpoint => commands.supply_l_per_min = value,
        Point::PumpEnabled => commands.pump_enabled = value != 0.0,
        Point::PumpSpeedSetpoint => commands.pump_speed_percent = value,
        Point::ValveSetpoint => commands.valve_position_percent = value,
        Point::OvenSetpoint => commands.oven_temperature_c = value,
        Point::OvenHeaterEnabled => commands.heater_enabled = value != 0.0,
        Point::OvenHeaterLimit => commands.heater_limit_kw = value,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_writable_register_reads_back_what_was_written() {
        for register in register_map().iter().filter(|row| row.access == Access::ReadWrite) {
            let mut plant = Plant::default();
            let mut words = Vec::new();
            encode(register.data_type, register.range.1 / register.scale, &mut words);
            plant.write(register.area, register.offset, &words, 4).unwrap();
            let read = plant.read(register.area, register.offset, words.len(), 4).unwrap();
            assert_eq!(read, words, "{}", register.tag());
            assert_eq!(measure(&plant.process, register.point), register.range.1);
        }
    }

    #[test]
    fn addresses_outside_the_map_are_refused() {
        let mut plant = Plant::default();
        let refused = Err(Exception::IllegalAddress);
        assert_eq!(plant.read_registers(Area::Input, 15, 2), refused);
        assert_eq!(plant.read_registers(Area::Input, u16::MAX, 125), refused);
        assert_eq!(plant.read_bits(Area::Discrete, 6, 1), Err(Exception::IllegalAddress));
        assert_eq!(plant.write_coils(3, &[true]), Err(Exception::IllegalAddress));
        assert_eq!(plant.write_registers(5, &[0, 0]), Err(Exception::IllegalAddress));
    }

    #[test]
    fn values_and_quantities_out_of_range_are_refused_and_change_nothing() {
        let mut plant = Plant::default();
        let before = plant.clone();
        let nan = f32::NAN.to_bits();
        for (offset, words) in [
            (0, vec![1001]),
            (0, vec![500, 1001]),
            (3, vec![(-1_i16).cast_unsigned()]),
            (4, vec![(nan >> 16) as u16, nan as u16]),
            (4, vec![0x4200, 0]),
            (0, vec![]),
            (0, vec![0; 124]),
        ] {
            assert_eq!(plant.write_registers(offset, &words), Err(Exception::IllegalValue));
        }
        assert_eq!(plant.read_registers(Area::Input, 0, 0), Err(Exception::IllegalValue));
        assert_eq!(plant.read_registers(Area::Input, 0, 126), Err(Exception::IllegalValue));
        assert_eq!(plant.read_bits(Area::Coil, 0, 2001), Err(Exception::IllegalValue));
        assert_eq!(plant, before);
    }

    #[test]
    fn half_of_a_float_may_be_written_when_the_whole_stays_in_range() {
        let mut plant = Plant::default();
        plant.write_registers(4, &[0x4000]).unwrap();
        assert_eq!(plant.read_registers(Area::Holding, 4, 2).unwrap(), [0x4000, 0]);
        assert_eq!(plant.process().commands.heater_limit_kw, 2.0);
    }

    #[test]
    fn raw_values_are_the_engineering_values_by_their_scale() {
        let plant = Plant::default();
        let words = plant.read_registers(Area::Input, 0, 6).unwrap();
        assert_eq!(words[0], 5000);
        assert_eq!(words[1], 180);
        assert_eq!(f32::from_bits((u32::from(words[4]) << 16) | u32::from(words[5])), 100.0);
    }
}
