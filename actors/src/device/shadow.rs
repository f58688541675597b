//! The shadows of one thing, classic and named: what apps want, what the device says, what differs.
//!
//! [`state`] decides what a request leads to, [`merge`] how documents are merged and compared,
//! [`answer`] where each answer goes, [`transition`] what is told of a shadow before and after, [`history`] who changed
//! what, [`both_ends`] how a shadow that is changed at a hub and at an edge node becomes one. All answers of an update
//! and its row are one commit.

pub(crate) mod answer;
pub(crate) mod both_ends;
pub(crate) mod history;
mod merge;
mod state;
pub(crate) mod transition;

pub(crate) use merge::Stamped;
pub(crate) use state::{Command, Decision, Place, ShadowState};
