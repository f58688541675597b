//! Desired configuration: the drivers and tags that the hub wants an edge node to have, and those that it has.
//!
//! The rows of drivers and tags at the hub that name an edge node are what is wanted of it; its own rows are what it
//! has. Whenever an edge node comes, or something has changed at either end, a round ([`round`]) compares the versions
//! of each driver with those of when both were last the same ([`rows::Base`]), and [`rule`] says what to do. A driver
//! goes with all its tags as one request of the admin API, which the other end takes as a whole or refuses as a whole.
//! How far that is stands on `edges/<edge>/configuration` (retained, [`survey`]).
//!
//! Nothing of this is kept at the edge node, and a round that was cut off anywhere is begun again: what was carried out
//! but not noted is then found to be so already.

mod round;
mod rows;
mod rule;
mod survey;

pub(crate) use round::is_of_the_moment;
pub(super) use round::{Round, Settled};
pub(crate) use rows::{KnownEditsRow, SyncRow};
pub(super) use survey::{Survey, Wanted, survey, wanted};
pub(crate) use survey::{settled, topic};
