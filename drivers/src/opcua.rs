//! OPC UA (OPC 10000, the client's side, binary over TCP).
//!
//! `opcua/README.md` is the reference for operators: options, addresses, security, an example. Inside: `address`,
//! `value`, `arguments`, `structures` and `status` give words of OPC UA a meaning, `points` is what a tag is on this
//! connection and `held` what the server has there; `identity`, `endpoint` and `trust` say who we are, how we come in
//! and whom we trust, `discovery` who is there; `link` is the connection, `limits` what it bears and `profile` what is
//! known of products; `requests`, `writes`, `browse`, `call` and `history` is what is asked of it, `subscribe`,
//! `listener`, `events` and `pushes` what comes by itself, `driver` is the port.
//!
//! Only `config`, `event_fields` and `profile` are there without the feature `opcua`, so that a configuration reads the
//! same in every build.

mod config;
mod event_fields;
mod profile;

#[cfg(feature = "opcua")]
mod address;
#[cfg(feature = "opcua")]
mod arguments;
#[cfg(feature = "opcua")]
mod browse;
#[cfg(feature = "opcua")]
mod call;
#[cfg(feature = "opcua")]
mod discovery;
#[cfg(feature = "opcua")]
mod driver;
#[cfg(feature = "opcua")]
mod endpoint;
#[cfg(feature = "opcua")]
mod events;
#[cfg(feature = "opcua")]
mod held;
#[cfg(feature = "opcua")]
mod history;
#[cfg(feature = "opcua")]
pub(crate) mod identity;
#[cfg(feature = "opcua")]
mod limits;
#[cfg(feature = "opcua")]
mod link;
#[cfg(feature = "opcua")]
mod listener;
#[cfg(feature = "opcua")]
mod points;
#[cfg(feature = "opcua")]
mod pushes;
#[cfg(feature = "opcua")]
mod requests;
#[cfg(feature = "opcua")]
mod status;
#[cfg(feature = "opcua")]
mod structures;
#[cfg(feature = "opcua")]
mod subscribe;
#[cfg(feature = "opcua")]
mod trust;
#[cfg(feature = "opcua")]
mod value;
#[cfg(feature = "opcua")]
mod writes;

pub use config::{
    NODES_PER_REQUEST_MAX, OpcUaConfig, OpcUaUser, PUBLISHING_INTERVAL_MS_DEFAULT,
    PUBLISHING_INTERVAL_MS_MAX, PUBLISHING_INTERVAL_MS_MIN, QUEUE_SIZE_MAX, SecurityMode,
    SecurityPolicy,
};
#[cfg(feature = "opcua")]
pub use driver::OpcUaDriver;
pub use profile::ServerProfile;
