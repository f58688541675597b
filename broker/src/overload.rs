//! What keeps the broker within bounds when clients ask for more than there is.
//!
//! - [`rate`]: how fast, as token buckets; [`pace`]: a publisher that is slowed by not being read from
//! - [`quota`]: what all clients of a namespace share
//! - [`backlog`]: what waits on the disk for the sessions of a namespace
//! - [`memory`]: the watermark past which new work is refused
//!
//! Bounds of single things are where these are: sockets in `listener`, queues in `session`, retained messages in
//! `retained`. What happens at each is the table in `docs/broker.md`.

pub(crate) mod backlog;
pub(crate) mod memory;
pub(crate) mod pace;
pub(crate) mod quota;
pub(crate) mod rate;
