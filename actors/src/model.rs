//! Thing models of a namespace: how they are kept, and those that are in use, compiled once for all their things.

mod cache;
pub(crate) mod row;

pub(crate) use cache::{Loaded, ModelCache};
