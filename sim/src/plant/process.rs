//! The physics of the plant: a tank that is filled by a supply and emptied by a pump through a
//! valve, and an oven beside it.
//!
//! Guarantees, whatever the commands and the step: the volume stays within the tank, a closed valve
//! or a standing pump lets nothing out, and every value is finite. Equal commands and equal steps
//! give equal values: there is no clock and no randomness in here.

/// What an operator or a control loop can set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Commands {
    /// Whether the supply into the tank is open.
    pub supply_enabled: bool,
    /// Wanted inflow in litres per minute, 0 to 200.
    pub supply_l_per_min: f64,
    /// Whether the pump shall run.
    pub pump_enabled: bool,
    /// Wanted pump speed in percent, 0 to 100.
    pub pump_speed_percent: f64,
    /// Wanted valve position in percent, 0 closed to 100 open.
    pub valve_position_percent: f64,
    /// Whether the oven may heat.
    pub heater_enabled: bool,
    /// Wanted oven temperature in degrees Celsius, 0 to 300.
    pub oven_temperature_c: f64,
    /// Highest heater power in kilowatts, 0 to 12.
    pub heater_limit_kw: f64,
}

impl Default for Commands {
    fn default() -> Self {
        Self {
            supply_enabled: true,
            supply_l_per_min: 60.0,
            pump_enabled: true,
            pump_speed_percent: 70.0,
            valve_position_percent: 70.0,
            heater_enabled: true,
            oven_temperature_c: 180.0,
            heater_limit_kw: 12.0,
        }
    }
}

/// The plant at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Process {
    /// The commands in force.
    pub commands: Commands,
    /// Time since the start in milliseconds; drives the slow waves of supply and temperature.
    pub elapsed_ms: u64,
    /// Volume in the tank in litres, 0 to [`TANK_CAPACITY_L`].
    pub volume_l: f64,
    /// Temperature of the liquid in degrees Celsius.
    pub tank_temperature_c: f64,
    /// Flow into the tank in litres per minute.
    pub inflow_l_per_min: f64,
    /// Flow out of the tank in litres per minute.
    pub outflow_l_per_min: f64,
    /// Litres delivered since the start.
    pub delivered_l: f64,
    /// Pump speed in percent.
    pub pump_speed_percent: f64,
    /// Whether the pump is held because the tank ran dry.
    pub is_pump_tripped: bool,
    /// Motor current of the pump in ampere.
    pub pump_current_a: f64,
    /// Time the pump has been turning, in milliseconds.
    pub pump_running_ms: u64,
    /// Valve position in percent, 0 closed.
    pub valve_position_percent: f64,
    /// Temperature of the oven in degrees Celsius.
    pub oven_temperature_c: f64,
    /// Heater power in kilowatts.
    pub heater_kw: f64,
}

/// Volume of the full tank in litres; what comes in above it spills.
pub const TANK_CAPACITY_L: f64 = 200.0;

/// Longer steps are cut into pieces of this length, so that a coarse step stays stable.
const STEP_MS_MAX: u64 = 100;
/// A step never integrates more than this: a process that slept an hour does not spin for it.
const STEP_TOTAL_MS_MAX: u64 = 60_000;

const AMBIENT_C: f64 = 22.0;
const SUPPLY_C: f64 = 15.0;
const PUMP_FLOW_MAX_L_PER_MIN: f64 = 160.0;
const PUMP_TIME_CONSTANT_S: f64 = 1.5;
const VALVE_PERCENT_PER_S: f64 = 10.0;
/// Below this position the valve is tight.
const VALVE_CLOSED_PERCENT: f64 = 0.5;
/// Dry-run protection trips below the first and releases above the second (percent of level).
const DRY_TRIP_PERCENT: f64 = 2.0;
const DRY_RELEASE_PERCENT: f64 = 10.0;
const OVEN_HEAT_CAPACITY_KJ_PER_K: f64 = 30.0;
const OVEN_LOSS_KW_PER_K: f64 = 0.02;
const OVEN_GAIN_KW_PER_K: f64 = 0.4;

impl Default for Process {
    fn default() -> Self {
        let commands = Commands::default();
        Self {
            commands,
            elapsed_ms: 0,
            volume_l: TANK_CAPACITY_L / 2.0,
            tank_temperature_c: 18.0,
            inflow_l_per_min: 0.0,
            outflow_l_per_min: 0.0,
            delivered_l: 0.0,
            pump_speed_percent: 0.0,
            is_pump_tripped: false,
            pump_current_a: 0.0,
            pump_running_ms: 0,
            valve_position_percent: commands.valve_position_percent,
            oven_temperature_c: 25.0,
            heater_kw: 0.0,
        }
    }
}

impl Process {
    /// Moves the plant on by `dt_ms` milliseconds, at most one minute at a time.
    pub fn step(&mut self, dt_ms: u64) {
        let mut left_ms = dt_ms.min(STEP_TOTAL_MS_MAX);
        while left_ms > 0 {
            let piece_ms = left_ms.min(STEP_MS_MAX);
            self.elapsed_ms = self.elapsed_ms.saturating_add(piece_ms);
            let dt_s = piece_ms as f64 / 1000.0;
            self.step_valve(dt_s);
            self.step_pump(dt_s, piece_ms);
            self.step_tank(dt_s);
            self.step_oven(dt_s);
            left_ms -= piece_ms;
        }
    }

    /// Level of the tank in percent.
    #[must_use]
    pub fn level_percent(&self) -> f64 {
        self.volume_l / TANK_CAPACITY_L * 100.0
    }

    /// Whether the pump turns.
    #[must_use]
    pub fn is_pump_running(&self) -> bool {
        self.pump_speed_percent > 0.0
    }

    /// Whether the valve is tight.
    #[must_use]
    pub fn is_valve_closed(&self) -> bool {
        self.valve_position_percent < VALVE_CLOSED_PERCENT
    }

    /// Whether the oven is within two kelvin of its setpoint.
    #[must_use]
    pub fn is_oven_at_setpoint(&self) -> bool {
        (self.oven_temperature_c - self.commands.oven_temperature_c).abs() <= 2.0
    }

    /// A sine of the given period, the only source of variation.
    fn wave(&self, period_s: f64) -> f64 {
        let period_ms = (period_s * 1000.0) as u64;
        let phase = (self.elapsed_ms % period_ms) as f64 / period_ms as f64;
        (phase * std::f64::consts::TAU).sin()
    }

    fn step_valve(&mut self, dt_s: f64) {
        let way = self.commands.valve_position_percent - self.valve_position_percent;
        let reach = VALVE_PERCENT_PER_S * dt_s;
        let moved = self.valve_position_percent + way.clamp(-reach, reach);
        self.valve_position_percent = moved.clamp(0.0, 100.0);
    }

    fn step_pump(&mut self, dt_s: f64, dt_ms: u64) {
        if self.level_percent() < DRY_TRIP_PERCENT {
            self.is_pump_tripped = true;
        } else if self.level_percent() > DRY_RELEASE_PERCENT {
            self.is_pump_tripped = false;
        }
        let runs = self.commands.pump_enabled && !self.is_pump_tripped;
        let wanted = if runs { self.commands.pump_speed_percent } else { 0.0 };
        let share = (dt_s / PUMP_TIME_CONSTANT_S).min(1.0);
        let speed = self.pump_speed_percent + (wanted - self.pump_speed_percent) * share;
        // An exponential never arrives: below a tenth of a percent the shaft stands.
        let stands = wanted == 0.0 && speed < 0.1;
        self.pump_speed_percent = if stands { 0.0 } else { speed.clamp(0.0, 100.0) };
        if self.is_pump_running() {
            self.pump_running_ms = self.pump_running_ms.saturating_add(dt_ms);
        }
        self.pump_current_a = self.motor_current_a();
    }

    fn motor_current_a(&self) -> f64 {
        if !self.is_pump_running() {
            return 0.0;
        }
        let speed = self.pump_speed_percent / 100.0;
        let opening = self.valve_position_percent / 100.0;
        let load = 0.8 + 2.4 * speed * speed + 2.0 * speed * opening;
        load * (1.0 + 0.01 * self.wave(7.0))
    }

    fn step_tank(&mut self, dt_s: f64) {
        let supply =
            if self.commands.supply_enabled { self.commands.supply_l_per_min } else { 0.0 };
        self.inflow_l_per_min = (supply * (1.0 + 0.1 * self.wave(97.0))).max(0.0);
        let in_l = self.inflow_l_per_min / 60.0 * dt_s;
        let out_l = (self.pumped_l_per_min() / 60.0 * dt_s).min(self.volume_l);
        self.outflow_l_per_min = out_l / dt_s * 60.0;
        self.delivered_l += out_l;

        let mixed_l = self.volume_l + in_l;
        if mixed_l > 0.0 {
            self.tank_temperature_c += (SUPPLY_C - self.tank_temperature_c) * in_l / mixed_l;
        }
        self.tank_temperature_c += (AMBIENT_C - self.tank_temperature_c) * 0.004 * dt_s;
        self.volume_l = (mixed_l - out_l).clamp(0.0, TANK_CAPACITY_L);
    }

    /// What pump and valve would let out now; the head of the liquid helps, so the level settles.
    fn pumped_l_per_min(&self) -> f64 {
        if self.is_valve_closed() {
            return 0.0;
        }
        let head = 0.5 + 0.5 * self.level_percent() / 100.0;
        let speed = self.pump_speed_percent / 100.0;
        let opening = self.valve_position_percent / 100.0;
        PUMP_FLOW_MAX_L_PER_MIN * speed * opening * head
    }

    fn step_oven(&mut self, dt_s: f64) {
        let commands = self.commands;
        let hold_kw = OVEN_LOSS_KW_PER_K * (commands.oven_temperature_c - AMBIENT_C);
        let error_k = commands.oven_temperature_c - self.oven_temperature_c;
        let wanted_kw = hold_kw + OVEN_GAIN_KW_PER_K * error_k;
        self.heater_kw = match commands.heater_enabled {
            true => wanted_kw.clamp(0.0, commands.heater_limit_kw.max(0.0)),
            false => 0.0,
        };
        let draught = 1.0 + 0.15 * self.wave(41.0);
        let loss_kw = OVEN_LOSS_KW_PER_K * draught * (self.oven_temperature_c - AMBIENT_C);
        self.oven_temperature_c += (self.heater_kw - loss_kw) / OVEN_HEAT_CAPACITY_KJ_PER_K * dt_s;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: u64, set: impl FnOnce(&mut Commands)) -> Process {
        let mut process = Process::default();
        set(&mut process.commands);
        for _ in 0..seconds * 10 {
            process.step(100);
        }
        process
    }

    #[test]
    fn left_alone_the_tank_settles_and_keeps_moving() {
        let mut process = after(1800, |_| {});
        assert!((20.0..80.0).contains(&process.level_percent()), "{}", process.level_percent());
        let before = process.volume_l;
        process.step(5_000);
        assert_ne!(before, process.volume_l);
    }

    #[test]
    fn a_closed_valve_stops_the_outflow_and_the_tank_rises_to_the_brim() {
        let closed = after(15, |c| c.valve_position_percent = 0.0);
        assert!(closed.is_valve_closed());
        assert_eq!(closed.outflow_l_per_min, 0.0);
        let later = after(600, |c| c.valve_position_percent = 0.0);
        assert_eq!(later.level_percent(), 100.0);
        assert_eq!(later.delivered_l, closed.delivered_l);
    }

    #[test]
    fn a_standing_pump_delivers_nothing_and_draws_nothing() {
        let off = after(30, |c| c.pump_enabled = false);
        assert!(!off.is_pump_running());
        assert_eq!((off.outflow_l_per_min, off.pump_current_a), (0.0, 0.0));
        assert!(off.level_percent() > 50.0);
    }

    #[test]
    fn a_dry_tank_trips_the_pump_and_a_refilled_one_releases_it() {
        let mut process = after(600, |c| c.supply_enabled = false);
        assert!(process.is_pump_tripped);
        assert!(!process.is_pump_running());
        assert!(process.volume_l >= 0.0);
        process.commands.supply_enabled = true;
        process.step(60_000);
        assert!(!process.is_pump_tripped && process.is_pump_running());
    }

    #[test]
    fn the_oven_reaches_its_setpoint_and_cools_without_heater() {
        let mut process = after(1200, |_| {});
        assert!(process.is_oven_at_setpoint(), "{}", process.oven_temperature_c);
        process.commands.heater_enabled = false;
        let hot = process.oven_temperature_c;
        process.step(60_000);
        assert!(process.oven_temperature_c < hot);
        assert_eq!(process.heater_kw, 0.0);
    }

    #[test]
    fn values_stay_within_bounds_for_any_command_and_step() {
        let extremes = [0.0, 1e-9, 37.0, 100.0, 200.0];
        for (i, &value) in extremes.iter().cycle().take(50).enumerate() {
            let mut process = Process::default();
            process.commands.supply_l_per_min = value;
            process.commands.pump_speed_percent = extremes[i % 3] * 2.0;
            process.commands.valve_position_percent = extremes[(i + 2) % 4];
            for step_ms in [1, 7, 100, 999, 60_000, u64::MAX] {
                process.step(step_ms);
                assert!((0.0..=TANK_CAPACITY_L).contains(&process.volume_l));
                assert!((0.0..=100.0).contains(&process.valve_position_percent));
                assert!((0.0..=100.0).contains(&process.pump_speed_percent));
                assert!(process.outflow_l_per_min >= 0.0 && process.heater_kw >= 0.0);
                assert!(process.tank_temperature_c.is_finite());
                assert!(process.oven_temperature_c.is_finite());
            }
        }
    }

    #[test]
    fn the_length_of_the_step_does_not_matter() {
        let mut fine = Process::default();
        let mut coarse = Process::default();
        (0..600).for_each(|_| fine.step(100));
        coarse.step(60_000);
        assert_eq!(fine, coarse);
    }
}
