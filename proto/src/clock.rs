//! Time and randomness as values: everything that needs them is handed these, so that whole nodes can run in a
//! test or a simulation whose time and dice are the test's own.

use crate::value::TimestampMs;

/// Tells the wall-clock time.
pub trait Clock: Send + Sync + 'static {
    /// Now, in milliseconds since the Unix epoch.
    fn now(&self) -> TimestampMs;
}

/// Gives unpredictable bytes, for secrets, salts and identifiers.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}
