//! A machine that is not there: values by formula, points that keep what is written, tables that are played, and faults
//! on demand. For trying the platform without a machine, and for tests of what is built on it.
//!
//! - [`address`]: what a tag may say: a wave, a counter, noise, a memory, a table
//! - [`config`]: the faults, and the seed of all chance
//! - [`driver`]: the port
//!
//! Everything follows from the seed, the address and the time since the driver was opened. The reference is the
//! README.md of its folder.

mod address;
mod config;
mod driver;
mod table;

pub use config::{Faults, SimulatorConfig};
pub(crate) use driver::SimulatorDriver;
