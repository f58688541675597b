//! The driver actor: one connection to one machine. Supervised by the edge node; has no children,
//! but one task that talks to the machine.
//!
//! It connects with backoff, polls by the schedule, publishes what has changed (retained, all
//! values of one poll in one commit), marks values bad that the machine refuses and stale when the
//! machine is lost, and carries out writes to `uns/<path>/set`, before polls. A write is answered
//! by the machine's word or refused at once; it is never kept for a later connection. [`state`]
//! holds the rules, [`io`] the task.
//!
//! A machine that cannot be reached is no failure: the status says `connecting`, and why. A
//! configuration that is refused is none either: the status says `faulted`, and writes are refused.
//! Values that must reach the bus are derived anew at start from what is retained there. Where the protocol pushes, the
//! points are subscribed to and not polled. [`asks`] is what operators ask of a machine while it runs, [`backlog`] what
//! it tells besides its values: events, and what it has kept of the time when it could not be reached. [`bus`] is the
//! way to devices that are clients of the node itself.

mod actor;
mod asks;
mod backlog;
mod bus;
mod command;
mod io;
mod journal;
mod pace;
mod publish;
pub(crate) mod row;
mod start;
mod state;
mod status;
mod tag;
mod write;

pub(crate) use actor::{DriverActor, DriverArgs, DriverMsg, status_message};
pub(crate) use asks::{
    Ask, Reply, TAGS_MAX as ASKED_TAGS_MAX, does_not_run, identity_of, refusal_of_query, value_of,
};
pub(crate) use bus::opening;
pub use pace::{Pace, Span};
pub use status::{DriverPhase, DriverStatus, PointFigures};
pub(crate) use write::refusal_of_lost;
