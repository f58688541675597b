//! Simulated machines and load: what `manifold demo` polls and what `manifold-sim` runs.
//!
//! - [`plant`]: a Modbus TCP server around a small plant (tank, pump, valve, oven) whose values move
//!   on their own and answer to writes.
//!
//! Nothing here is part of a hub or an edge node in production. The crate imports no other crate of
//! the house: a simulator that shared code with the product would share its mistakes.

pub mod plant;
