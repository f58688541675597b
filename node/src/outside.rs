//! The real clock and the real dice, handed to everything that needs them.
//!
//! The one place of the executable that asks the operating system for the time of day and for
//! randomness; tests and simulations hand in their own.

use proto::{Clock, Entropy, TimestampMs};

/// The clock of the operating system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the `Clock` that is passed in elsewhere"
    )]
    fn now(&self) -> TimestampMs {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        // A clock before 1970 is a machine without one; its values are dated 1970.
        TimestampMs(since_epoch.map_or(0, |it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// The randomness of the operating system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // Predictable secrets would be worse than no node at all.
        getrandom::fill(bytes).expect("the operating system gives no randomness");
    }
}
