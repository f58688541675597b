//! The supervision tree: everything of the platform that acts, as supervised actors on one broker
//! and one store.
//!
//! ```text
//! System                 one per process                                     `system`
//! └ Cluster              which namespaces are served                         `cluster`
//!   └ Tenant             one namespace: brings messages to devices           `tenant`
//!     ├ Device           one thing, on demand: presence, telemetry, shadows  `device`
//!     ├ EdgeNode         the drivers in this process                         `edge_node`
//!     │ └ Driver         one connection to one machine                       `driver`
//!     ├ Uplink           on an edge node: what goes up to the hub            `uplink`
//!     ├ Edges            on a hub: edge nodes, what they send and shall have `edges`
//!     ├ Rules            what is done when a value crosses a limit           `rules`
//!     ├ Bridges          the bridges to other brokers                        `bridges`
//!     │ └ Bridge         one connection to one broker                        `bridge`
//!     └ Admin            the admin API of the namespace                      `admin`
//! ```
//!
//! Every actor is a pure core and a thin shell: the shell keeps a change, then puts it in force,
//! and only then answers and publishes, so an answer means durable. A refused request is a reply;
//! an actor that fails is restarted from its last durable state, and its supervisor's module says
//! how often. Actors talk to the world through in-process clients of the broker only, and
//! acknowledge a message after its commit; what is not acknowledged comes again. Nothing here opens
//! a socket, reads a clock or rolls dice of its own: see [`Outside`].

mod admin;
mod ask;
mod audit;
mod authority;
mod backups;
mod bells;
mod bridge;
mod bridges;
mod cluster;
mod context;
mod device;
mod door;
mod driver;
mod edge_node;
mod edges;
mod enrolment;
mod figures;
mod here;
mod model;
mod newcomers;
mod ports;
mod refused;
mod registry;
mod restart;
mod rules;
mod secret;
mod settings;
mod system;
mod task;
mod tenant;
mod trust;
mod uplink;

pub use admin::{CatalogOperation, CatalogResource, catalogue};
pub use audit::log::AuditError;
pub use backups::part_of_tenant;
pub use driver::{DriverPhase, DriverStatus, Pace, PointFigures, Span};
pub use drivers::Site;
pub use drivers::bridge::{RemoteConfig, RemoteTls};
pub use edge_node::local_edge;
pub use figures::Figures;
pub use ports::{ForDrivers, OpenDriver, Opening, Outside};
pub use restart::RestartPolicy;
pub use settings::Settings;
pub use system::{FirstAdmin, Platform, StartError, start};
pub use uplink::UplinkSettings;
