//! Devices that speak MQTT in their own way: their topics and payloads, JSON, text or binary, become values.
//!
//! - [`address`]: what a tag may say: a topic, a part of its payload, where to write
//! - [`config`]: the broker, and what is known of the time
//! - [`payload`]: a payload as a value and back; [`points`]: the tags by their topics
//! - [`line`]: the way to the broker, the node's own or another one; [`listen`]: what comes from it
//! - [`browse`]: which topics there are, and what is in their payloads
//! - [`driver`]: the port
//!
//! What a device says is acknowledged to its broker when its values are kept. The reference is the README.md of its
//! folder.

mod address;
mod browse;
mod config;
mod driver;
mod json_path;
mod line;
mod listen;
mod payload;
mod points;

pub use config::{MqttConfig, Offline, SourceTime, TimeUnit};
pub(crate) use driver::MqttDriver;
pub use line::{LocalBroker, LocalClient};
