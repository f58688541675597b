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
//! Values that must reach the bus are derived anew at start from what is retained there. It does
//! not subscribe at protocols that push.

mod actor;
mod io;
pub(crate) mod row;
mod start;
mod state;
mod status;
mod tag;
mod write;

pub(crate) use actor::{DriverActor, DriverArgs, DriverMsg, status_message};
pub use status::{DriverPhase, DriverStatus, PointFigures};
