//! Commands of one thing: what apps ask of the device, and how each ended.
//!
//! ```text
//!            invoke                        request                      response
//! (nothing) ───────▶ queued ───────────────────────▶ sent ──────────────────────▶ succeeded | failed
//!     │                │ deadline: expired             │ deadline: timed_out
//!     ▼                ▼ cancelled: rejected           ▼ cancelled: rejected
//!  rejected
//! ```
//!
//! [`document`] reads what is asked and answered, [`book`] holds the rules, [`row`] is what is kept, [`answer`] what is
//! said. A command that the device can hear at once is kept as sent in one commit; how it ended is the second. It is
//! handed to the device once, never again, whatever becomes of the connection: a device that has it may have done it.
//! An id stands for one command of a thing and ends once; asked again it is told where it stands.

pub(crate) mod answer;
pub(crate) mod book;
pub(crate) mod broadcast;
pub(crate) mod document;
pub(crate) mod row;
