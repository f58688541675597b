//! The hub's side of edge nodes: a part of every tenant. It takes in what they send up, publishes it once, and says of
//! each on `edges/<edge>/uplink/status` (retained) whether it is there, what it runs, and what waits at it.
//!
//! A shipment is committed as one: its messages with the numbers of its records ([`received`]), so that a record that
//! comes again is known by its number, also after a crash of either side. Only then is it acknowledged to the edge
//! node, which keeps it until that. [`arrival`] says what of a shipment is published, and how; [`desired`] gives edge
//! nodes the drivers that are wanted of them, [`things`] the devices that connect there, with their shadows and
//! commands; [`worker`] is the task around all of it. Shipments of one edge node are taken in one after the other; edge
//! nodes do not wait for each other.

mod arrival;
pub(crate) mod desired;
pub(crate) mod hotline;
mod received;
pub(crate) mod row;
mod status;
pub(crate) mod things;
mod worker;

pub(crate) use received::ReceivedRow;
pub(crate) use status::topic;
pub(crate) use worker::run;
