//! The far side of a bridge: a client of another MQTT broker, 3.1.1 or 5.0.
//!
//! - [`RemoteConfig`]: where the broker is and how to be its client
//! - [`Link`]: the connection, as events to take and messages to give; it retries when it is told to
//!
//! A link knows nothing of queues, mappings or what is acknowledged when: the actor that holds it does. Messages
//! travel with QoS 0 and 1; what was not acknowledged when a connection is lost is sent again by the next one.
//! Behind it is rumqttc, one file for each protocol version, because its packets are other types in each, and below
//! that, if it is wanted, TLS ([`RemoteTls`]).

mod config;
mod link;
mod tls;
mod url;
mod v4;
mod v5;

pub use config::{RemoteConfig, RemoteVersion};
pub use link::{
    Link, LinkAck, LinkEvent, Received, RemoteMessage, RemoteProperties, SendError, Sending,
    Subscribed, Welcome,
};
pub use tls::RemoteTls;
