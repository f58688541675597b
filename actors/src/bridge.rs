//! The bridge actor: one connection to another MQTT broker, and what it carries there and back. Supervised by the
//! bridges of a namespace; has no children, but one task that does the work.
//!
//! Out: deliveries of the bridge's in-process client are put into a queue on disk and only then acknowledged to
//! their publishers; a row goes when the remote broker has acknowledged the message. In: what the remote broker
//! sends is published here, and acknowledged to it after the commit. Both ways at least once, in order for each
//! topic. [`mapping`] says which topic becomes which, [`queue`] what waits and in which order, [`carry`] what of the
//! retained messages has yet to go out, [`account`] that nothing is unaccounted for; these are plain values.
//! [`worker`] is the task around them.
//!
//! A remote broker that cannot be reached is no failure: the status says `connecting`, and why, and the queue fills
//! up to its bound. A bridge that is paused has no connection and queues on.

pub(crate) mod account;
mod actor;
mod body;
mod carry;
pub(crate) mod config;
mod inward;
mod mapping;
mod outward;
mod queue;
pub(crate) mod row;
pub(crate) mod status;
mod tap;
mod worker;

pub(crate) use actor::{BridgeActor, BridgeArgs, BridgeMsg};
pub(crate) use tap::{Tap, client_id};
