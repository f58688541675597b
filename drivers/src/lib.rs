//! Southbound protocols behind one small port.
//!
//! - [`port`]: the [`Driver`] port: connect, read points, write a point, subscribe, health
//! - [`config`]: what an operator says about a machine and its tags
//! - [`open()`]: turns that into a driver, or says which field is wrong
//! - [`modbus`]: Modbus, over TCP and serial lines
//! - [`opcua`]: OPC UA
//! - [`simulator`]: a machine that is not there
//! - [`sheets`]: tags as other products write them down
//! - [`virtual_tags`](virtual_tags()): values that are computed from those of a machine
//! - [`mqtt`]: devices that speak MQTT in their own way
//! - [`trust`]: whose certificates are trusted, as operators say
//! - [`bridge`]: a client of another MQTT broker, for bridges
//! - [`schedule`] and [`backoff`]: when to poll and when to reconnect, as pure values for the actor
//! - [`contract`]: what every driver must keep, as a check that runs against any of them
//!
//! A driver owns one connection to one machine. It has no clock, no retry and no schedule of its
//! own: the actor that holds it decides when to connect, poll and write, so the real actor runs in
//! simulation.

pub mod backoff;
pub mod bridge;
pub mod config;
pub mod contract;
mod encoding;
pub mod modbus;
pub mod mqtt;
pub mod opcua;
pub mod open;
pub mod port;
mod scaling;
pub mod schedule;
pub mod sheets;
pub mod simulator;
pub mod trust;
mod virtual_tags;

pub use backoff::Backoff;
pub use config::{
    Access, ByteOrder, ConfigError, DataType, Deadband, DriverConfig, Publish, TagConfig, TagKind,
};
pub use open::{Site, open};
pub use port::{
    Call, ConnectError, Connectivity, Counters, DeviceError, Discovered, Driver, Event, EventLevel,
    Found, Gap, Health, Input, Kept, Lost, PointId, PointRead, PointWrite, Pushed, QueryError,
    ReadError, ReadOutcome, Receipt, Sample, SubscribeError, Subscription, WriteError,
};
pub use schedule::Schedule;
pub use virtual_tags::{CHAIN_MAX, VirtualTag, check_virtual_tag, virtual_tags};
