//! Rules: when a value crosses a limit, tags are written and things are asked for commands. A part of every tenant, so
//! that the loop is closed where the machines are, with or without a hub.
//!
//! - [`rule`]: what a rule says
//! - [`gate`]: when it acts, as a pure value
//! - [`row`]: where it is kept
//! - [`deeds`]: what it has done, for those who look
//! - [`worker`]: the task, which hears the values and acts
//!
//! Whether a rule has acted on its condition is kept: a restart does not act again, and what was crossed meanwhile is
//! acted on then. A crash between an action and its note acts once more.

pub(crate) mod deeds;
mod gate;
pub(crate) mod row;
pub(crate) mod rule;
mod worker;

pub(crate) use deeds::Deeds;
pub(crate) use worker::run;
