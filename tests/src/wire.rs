//! A small MQTT client of the tests' own, 3.1.1 and 5.0, that can also say what no client may.
//!
//! [`packet`] writes and reads the packets that the tests need; [`Wire`] is a connection that sends any
//! bytes, right or wrong, and reads what comes back with a time limit. It acknowledges what it is given
//! and keeps nothing else in mind, so a test sees each packet as the broker sent it.

mod client;
pub mod packet;
mod web_socket;

pub use client::{Ending, Wire};
pub use packet::{Hello, Message, Packet, Version, Will};
