//! What an edge node sends up to its hub: records of messages, numbered, in blocks and shipments.
//!
//! - [`Record`]: one message as the edge node had it; [`Block`]: records that lie or travel together
//! - [`Shipment`]: what one publication on `edges/<edge>/uplink` carries, with the numbers of its records
//! - [`Ranges`]: which numbers have arrived, so that nothing counts twice
//!
//! Every record has a number, one higher than the record before it. Numbers are good within one *epoch*, the life of
//! the edge node's data folder. The hub keeps the ranges it has, in the commit that publishes the records, and drops
//! what comes again.

mod block;
mod codec;
mod decimal;
mod ranges;
mod shipment;

pub use block::{Block, BlockReader, Damaged};
pub use codec::{Record, TAIL_BYTES_MAX};
pub use ranges::{Range, Ranges};
pub use shipment::{GapReason, Known, Lane, Shipment};

/// The most records of one shipment: a hub has a bound for what one packet makes it hold.
pub const SHIPMENT_RECORDS_MAX: u32 = 10_000;
