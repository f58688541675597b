//! The admin API of one namespace: requests on `admin/<resource>/<verb>`. Supervised by the tenant;
//! no children.
//!
//! [`table`] lists every operation, with the role it needs and the schema of its request; [`catalog`] shows that. An
//! operation reads the store and
//! returns a [`plan`]: what to answer and what to keep. The plan is committed by the actor that
//! owns the rows: the device, the edge node, the cluster, or this one; so an operation never races
//! the part it changes. An answer `ok` means committed.
//!
//! What only a machine knows is asked of it ([`live`]).
//!
//! A mutation that carries a `request_id` is done once: its answer is kept in the same commit
//! ([`answers`]) and given again to the same caller. Answers go to the response topic with the
//! correlation data, or to `clients/<client id>/reply/<request id>`. Every mutation is told to the
//! log target `audit`, and is a record of the [audit](crate::audit) in its own commit ([`recording`]).

mod act;
mod actor;
mod answers;
mod audit;
mod authorities;
mod backups;
mod bridges;
mod catalog;
mod certificates;
mod commands;
mod connections;
mod credentials;
mod cursor;
mod drivers;
mod edges;
mod enrolments;
mod groups;
mod list;
mod live;
mod metrics;
mod models;
mod newcomer;
mod node;
mod payload;
mod plan;
mod projects;
mod recording;
mod reply;
mod request;
mod retained;
mod revision;
mod roles;
mod room;
mod rules;
mod scope;
mod server_certificates;
mod shadows;
mod subscriptions;
mod table;
mod tabular;
mod tags;
mod tenants;
mod thing_model;
mod things;
mod users;
mod values;

pub use catalog::{CatalogOperation, CatalogResource, catalogue};

pub(crate) use actor::{AdminActor, AdminArgs, AdminMsg};
pub(crate) use request::read as read_request;
pub(crate) use room::Rooms;
pub(crate) use things::ThingQuery;
