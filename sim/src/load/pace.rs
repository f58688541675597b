//! When messages are due.
//!
//! In the steady mode a message that goes out late carries the time at which it was due, so that a
//! target which stalls cannot hide it; up to [`TIMER_SLACK_NS`] late is the timer of the generator
//! and is stamped with the time of sending.

use std::cell::Cell;

/// Lateness that the 1 ms timer of the runtime explains.
const TIMER_SLACK_NS: u64 = 2_000_000;

const NS_PER_SECOND: u64 = 1_000_000_000;

/// When the messages of one publisher are due.
pub(crate) struct Pace {
    /// Nothing means as fast as possible.
    interval_ns: Option<u64>,
    offset_ns: u64,
    next_ns: Cell<u64>,
}

impl Pace {
    /// Spreads `rate_per_second` evenly over the publishers, each at its own offset.
    pub(crate) fn new(rate_per_second: u64, publishers: usize, index: usize) -> Self {
        let publishers = publishers as u64;
        let interval_ns =
            (rate_per_second > 0).then(|| NS_PER_SECOND * publishers / rate_per_second);
        let offset_ns = interval_ns.unwrap_or(0) / publishers * index as u64;
        Self { interval_ns, offset_ns, next_ns: Cell::new(0) }
    }

    pub(crate) fn restart(&self, now_ns: u64) {
        self.next_ns.set(now_ns + self.offset_ns);
    }

    pub(crate) fn next_ns(&self) -> u64 {
        self.next_ns.get()
    }

    pub(crate) fn due(&self, now_ns: u64) -> u64 {
        let Some(interval_ns) = self.interval_ns else {
            return u64::MAX;
        };
        match now_ns.checked_sub(self.next_ns.get()) {
            Some(late_ns) => late_ns / interval_ns.max(1) + 1,
            None => 0,
        }
    }

    /// Takes one due message and answers the time it shall carry.
    pub(crate) fn take(&self, now_ns: u64) -> u64 {
        let Some(interval_ns) = self.interval_ns else {
            return now_ns;
        };
        let due_ns = self.next_ns.get();
        self.next_ns.set(due_ns + interval_ns);
        if now_ns.saturating_sub(due_ns) > TIMER_SLACK_NS { due_ns } else { now_ns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn without_a_rate_everything_is_due_and_stamped_now() {
        let pace = Pace::new(0, 3, 1);
        assert_eq!((pace.due(0), pace.take(5)), (u64::MAX, 5));
    }

    #[test]
    fn a_rate_is_spread_over_publishers_and_time() {
        let pace = Pace::new(1000, 2, 1);
        pace.restart(100 * MS);
        assert_eq!(pace.due(100 * MS), 0);
        assert_eq!(pace.next_ns(), 101 * MS);
        assert_eq!(pace.due(101 * MS), 1);
        assert_eq!(pace.due(105 * MS), 3);
        pace.take(101 * MS);
        assert_eq!(pace.due(101 * MS), 0);
        assert_eq!(pace.next_ns(), 103 * MS);
    }

    #[test]
    fn a_message_that_goes_out_late_carries_the_time_it_was_due() {
        let pace = Pace::new(1000, 1, 0);
        pace.restart(0);
        assert_eq!(pace.take(MS), MS);
        assert_eq!(pace.take(50 * MS), MS);
    }
}
