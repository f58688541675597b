//! Simulated machines and load: what `manifold demo` polls and what `manifold-sim` runs.
//!
//! - [`plant`]: a Modbus TCP server around a small plant (tank, pump, valve, oven) whose values
//!   move on their own and answer to writes.
//! - [`machines`]: many Modbus machines with many registers each, slow, busy or silent as told.
//! - `tank` (cargo feature `opcua`): an OPC UA server with a tank and as many values as wanted, that change as told.
//! - [`reaction`]: how long a node takes from a change of one machine to a write to another.
//! - [`load`]: a load generator for MQTT brokers that measures rate, latency, losses and cost.
//! - [`fleet`]: the same for the things of a node: shadows, telemetry, commands.
//! - `baseline` (cargo feature of that name): rumqttd as a broker to compare with.
//!
//! Nothing here is part of a hub or an edge node in production. The crate imports no other crate of
//! the house: a simulator that shared code with the product would share its mistakes.

#[cfg(feature = "baseline")]
pub mod baseline;
pub mod fleet;
pub mod load;
pub mod machines;
pub mod plant;
pub mod reaction;
mod table;
#[cfg(feature = "opcua")]
pub mod tank;
