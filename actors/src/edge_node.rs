//! The edge node actor: the drivers of one namespace that run in this process. Supervised by the
//! tenant; its children are the drivers.
//!
//! It owns the rows of drivers and tags: a change of them comes here, is committed while the driver
//! it concerns is down, and the driver is started anew from its rows; no other driver notices. Rows of drivers that run
//! on another edge node are kept here all the same, since the hub says what is wanted of it ([`crate::edges`]).
//! `edges/<edge>/status` (retained) says that it is there, and how many drivers it has.
//!
//! Restart policy: each driver on its own, after a pause that doubles, within the budget. A driver
//! beyond its budget is `faulted`, which its status says, and is tried again after `quarantine_ms`
//! or when it is configured anew. A driver whose row cannot be read is `faulted` as well; none of
//! them ever stops the edge node.

mod actor;

pub use actor::local_edge;
pub(crate) use actor::{EdgeNodeActor, EdgeNodeArgs, EdgeNodeMsg};
