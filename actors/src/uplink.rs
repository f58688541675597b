//! The uplink: what of a namespace goes up to the hub, and what comes down. A part of the tenant on a node whose role
//! is `edge`.
//!
//! What is published on a topic that goes up is kept in the commit that makes it durable ([`tape`]), as a record with
//! a number, in blocks ([`shelf`]); a task reads them ([`cursor`]), sends them as shipments and gives up what the hub
//! has acknowledged ([`worker`]). After an outage the records of now go first and those that waited behind them, each
//! in order; the hub takes every number once. Small blocks that wait are made into large ones ([`packing`]), which
//! hold a value in a few bytes.
//!
//! An edge node that its hub does not know yet registers first, if it has been given an enrolment ([`enrolment`]).
//!
//! What waits is bounded by bytes and by age. Beyond, the oldest records are dropped, counted, and reported to the hub
//! as a gap. Nothing but the disk can hold up a publisher: a hub that is away never does.

mod cursor;
mod enrolment;
mod lanes;
mod packing;
pub(crate) mod properties;
mod question;
pub(crate) mod report;
mod rows;
mod settings;
mod shelf;
mod tape;
mod tapes;
mod worker;

pub use settings::UplinkSettings;
pub(crate) use tapes::Tapes;
pub(crate) use worker::{UplinkArgs, run};
