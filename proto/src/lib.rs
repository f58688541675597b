//! The language of Manifold: what every other crate speaks, without I/O, clock or runtime.
//!
//! - [`id`]: typed names of tenants, projects, things, edge nodes, drivers, tags, users
//! - [`topic`]: MQTT topic names and filters, valid by construction (MQTT 5.0 4.7)
//! - [`uns`]: paths of the Unified Namespace; [`value`]: what they carry, and [`datum`]: what a value holds
//! - [`platform`]: every topic the platform itself owns, as one enum, and the filters over them
//! - [`refusal`]: the one table of refusal codes; [`role`]: who a client is; [`clock`]: time and randomness
//! - [`expression`]: expressions over values, for what is computed
//! - [`hops`]: the path of a message over bridges to other brokers
//! - [`admin`]: the envelope of the admin API; [`shadow`]: the documents of the device shadow; [`model`]: thing models
//!
//! No topic of the platform is built from text anywhere else; a house rule checks it.

pub mod admin;
pub mod clock;
pub mod datum;
pub mod expression;
pub mod hops;
pub mod id;
pub mod model;
pub mod platform;
pub mod refusal;
pub mod role;
pub mod shadow;
pub mod topic;
pub mod uns;
pub mod uplink;
pub mod value;
pub mod varint;

pub use clock::{Clock, Entropy};
pub use datum::Datum;
pub use expression::Expression;
pub use id::{
    BridgeId, ClientId, CommandId, CommandName, DriverId, EdgeId, EventName, JobId, Namespace,
    ProjectId, RequestId, RoleId, RuleId, ShadowName, TagId, TenantId, ThingId, TokenId,
    TransferId, UserId, UserName,
};
pub use model::{ModelName, ModelRef, ModelVersion};
pub use platform::PlatformTopic;
pub use refusal::{Refusal, RefusalCode};
pub use role::{Identity, Role};
pub use topic::{Qos, Subscription, TopicFilter, TopicName};
pub use uns::UnsPath;
pub use value::{Quality, TimestampMs, Value};
