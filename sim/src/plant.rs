//! A small plant behind a Modbus TCP server: tank, pump, valve and oven.
//!
//! - `process`: the physics, pure: `step(dt_ms)` and nothing else moves it.
//! - `registers`: the register map as data; the one table that the server, the documentation and
//!   the tags of `manifold demo` are made from.
//! - `bank`: the plant as a Modbus client sees it: reads, checked writes, exception codes.
//! - `server`: the thin shell with the sockets and the clock.
//!
//! It follows the Modbus Application Protocol 1.1b3. It deliberately has no faults of its own: a
//! late, broken or absent machine is made by stopping the server.

mod bank;
mod process;
mod registers;
mod server;

pub use bank::{Exception, Plant};
pub use process::{Commands, Process, TANK_CAPACITY_L};
pub use registers::{Access, Area, DataType, Point, Register, register_map, registers_text};
pub use server::{CONNECTIONS_MAX, PlantError, PlantServer, STEP_MS_DEFAULT};
