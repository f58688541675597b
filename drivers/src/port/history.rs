//! What a machine has kept while nobody listened.

use super::{PointId, Sample};
use proto::TimestampMs;

/// The values of one point after a time and before another one, neither of them included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Whose values.
    pub point: PointId,
    /// The time of the last value that is known.
    pub after: TimestampMs,
    /// The time of the first value that is known again.
    pub before: TimestampMs,
}

/// What a machine has kept for a gap, or for the first part of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// Whose values.
    pub point: PointId,
    /// Those that can be used, in the order of their times.
    pub samples: Vec<Sample>,
    /// Where the rest begins: there is more after this time. `None` if this was all.
    pub more_after: Option<TimestampMs>,
}
