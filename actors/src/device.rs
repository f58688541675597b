//! The device actor: one registered thing, on demand. Supervised by the tenant; has no children.
//!
//! It owns the thing's presence (retained `status`), takes its telemetry into the Unified Namespace, checks its
//! events, and keeps its shadows and its commands. Messages that wait together are one commit ([`batch`]); each
//! is acknowledged after it, so a publisher that was acknowledged has lost nothing, and an answer is sent
//! with the commit that it tells of, or not at all. What a device or app gets wrong is refused with a reply
//! and changes nothing. A store that cannot keep a change is no fault of the actor.
//!
//! Presence is derived anew from the broker's connections whenever the tenant starts; nothing else has to
//! reach the bus after a crash, since rows and messages are one commit. The actor sleeps through the time that
//! commands have; the tenant wakes it at their deadlines. A thing that has a model keeps to it ([`model`]): what does
//! not fit is refused whole. A thing may be at an edge node, or be given by a hub ([`elsewhere`]). Jobs and files are
//! not its own yet.

mod actor;
mod batch;
mod certificate;
pub(crate) mod command;
mod commands;
mod elsewhere;
mod event;
pub(crate) mod life;
mod model;
mod orders;
pub(crate) mod presence;
mod reported;
mod reports;
pub(crate) mod row;
pub(crate) mod shadow;
mod shadows;
mod state;
mod telemetry;

pub(crate) use actor::{DeviceActor, DeviceArgs, DeviceMsg, Sent, status_message};
pub(crate) use commands::reject_invocation;
pub(crate) use elsewhere::Becoming;
pub(crate) use orders::Order;
pub(crate) use shadows::reject_unregistered;
