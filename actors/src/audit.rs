//! The audit: what was done to the platform, by whom, and who came in, as one chain of records for each tenant.
//!
//! A record is canonical JSON (RFC 8785) that holds its number and the hash of the record before it; its own hash is
//! SHA-256 over that hash and its bytes ([`chain`]). The store's writer links a record as it commits it, in the set of
//! changes that it tells of ([`log`]): so several admin APIs write one chain without a lock, and no mutation is in
//! the store without its record. Decision 0018.
//!
//! What is not a mutation goes by way of the [`clerk`]: logins ([`witness`]), and refusals beyond a rate, gathered for
//! a moment in its [`inbox`] and merged where there are many alike ([`merge`]). It also keeps to the retention: what is
//! dropped leaves a signed [`checkpoint`], from which the chain can still be followed ([`walk`]).

pub(crate) mod chain;
pub(crate) mod checkpoint;
pub(crate) mod clerk;
pub(crate) mod entry;
mod inbox;
pub(crate) mod log;
mod merge;
pub(crate) mod request;
mod retention;
pub(crate) mod row;
pub(crate) mod walk;
pub(crate) mod witness;

pub(crate) use entry::{By, Entry};
pub(crate) use log::Audit;
