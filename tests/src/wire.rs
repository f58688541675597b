//! A small MQTT client of the tests' own, 3.1.1 and 5.0, that can also say what no client may.
//!
//! [`packet`], [`property`] and [`Hello`] write and read the packets that the tests need; [`Wire`] is a
//! connection that sends any bytes, right or wrong, and reads what comes back with a time limit. It
//! acknowledges what it is given and keeps nothing else in mind, so a test sees each packet as the
//! broker sent it.

mod client;
mod hello;
pub mod packet;
pub mod property;
mod web_socket;

pub use client::{Ending, Wire};
pub use hello::{Hello, Will};
pub use packet::{Message, Packet, Version};
pub use property::Property;
