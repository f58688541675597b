//! How fast: token buckets that hold one second's worth. The moment is passed in; nothing here reads a clock.
//!
//! A bucket is one moment, that at which it is full again. So it fills by itself, and taking out of it is an addition.

use std::time::Duration;
use tokio::time::Instant;

/// What a full bucket holds, in time of its rate.
const HOLDS: Duration = Duration::from_secs(1);

/// What may pass in a second; a full bucket lets one second's worth pass at once.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// 0: any amount.
    per_sec: u64,
    full_at: Instant,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(per_sec: u64, now: Instant) -> Self {
        Self { per_sec, full_at: now }
    }

    /// Takes one out; `false` if there is none.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + self.time_of(1);
        let has_one = full_at <= now + HOLDS;
        if has_one {
            self.full_at = full_at;
        }
        has_one
    }

    /// Takes out `amount`, be it there or not. Says when what was not there has come in, if that is later than now.
    pub(crate) fn spend(&mut self, amount: u64, now: Instant) -> Option<Instant> {
        self.full_at = self.full_at.max(now) + self.time_of(amount);
        (self.full_at > now + HOLDS).then(|| self.full_at - HOLDS)
    }

    /// In which time so much comes in.
    fn time_of(&self, amount: u64) -> Duration {
        let nanos = (u128::from(amount) * 1_000_000_000).checked_div(self.per_sec.into());
        Duration::from_nanos(u64::try_from(nanos.unwrap_or(0)).unwrap_or(u64::MAX))
    }
}

/// Messages and bytes per second; 0 sets no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rate {
    pub(crate) messages_per_sec: u64,
    pub(crate) bytes_per_sec: u64,
}

impl Rate {
    /// Whether there is anything to keep to.
    pub(crate) fn is_unbounded(self) -> bool {
        self == Self::default()
    }
}

/// Messages and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Load {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

/// What is left of a rate.
#[derive(Debug)]
pub(crate) struct Budget {
    messages: Bucket,
    bytes: Bucket,
}

impl Budget {
    /// A full one.
    pub(crate) fn new(rate: Rate, now: Instant) -> Self {
        Self {
            messages: Bucket::new(rate.messages_per_sec, now),
            bytes: Bucket::new(rate.bytes_per_sec, now),
        }
    }

    /// Takes out what has been received, be it there or not. Says until when nothing more should be.
    pub(crate) fn spend(&mut self, load: Load, now: Instant) -> Option<Instant> {
        self.messages.spend(load.messages, now).max(self.bytes.spend(load.bytes, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_second_gives_as_many_as_the_rate_and_no_more_are_saved_up() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, start);
        let take =
            |bucket: &mut Bucket, at| (0..100).filter(|_| bucket.take(start + ms(at))).count();
        assert_eq!(take(&mut bucket, 0), 10);
        assert_eq!(take(&mut bucket, 50), 0);
        assert_eq!(take(&mut bucket, 550), 5);
        assert_eq!(take(&mut bucket, 60_000), 10);
        assert_eq!(take(&mut Bucket::new(3, start), 0), 3);
        assert_eq!(take(&mut Bucket::new(0, start), 0), 100);
    }

    #[test]
    fn what_was_not_there_has_to_come_in_first() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, start);
        assert_eq!(bucket.spend(10, start), None);
        assert_eq!(bucket.spend(5, start), Some(start + ms(500)));
        assert_eq!(bucket.spend(0, start + ms(500)), None);
        assert_eq!(bucket.spend(1, start + ms(500)), Some(start + ms(600)));
        assert_eq!(Bucket::new(0, start).spend(u64::MAX, start), None);
    }

    #[test]
    fn the_scarcer_of_the_two_decides() {
        let start = Instant::now();
        let mut budget = Budget::new(Rate { messages_per_sec: 1000, bytes_per_sec: 100 }, start);
        assert_eq!(budget.spend(Load { messages: 1, bytes: 400 }, start), Some(start + ms(3000)));
    }

    #[test]
    fn a_moment_that_lies_back_gives_nothing_away() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, start + ms(1000));
        assert_eq!(bucket.spend(10, start + ms(1000)), None);
        assert!(bucket.spend(1, start).is_some());
        assert_eq!(bucket.spend(0, start + ms(1000)), Some(start + ms(1100)));
    }

    proptest! {
        /// Who waits as told never gets more than the rate and one second's worth through.
        #[test]
        fn over_any_span_the_rate_holds(
            rate in 1_u64..1000,
            amounts in proptest::collection::vec(0_u64..50, 1..200),
        ) {
            let start = Instant::now();
            let mut bucket = Bucket::new(rate, start);
            let (mut now, mut passed) = (start, 0);
            for amount in amounts {
                let allowed = rate as f64 * (1.0 + (now - start).as_secs_f64()) + 1e-3;
                prop_assert!(passed as f64 <= allowed, "{passed} passed, {allowed} were allowed");
                passed += amount;
                now = bucket.spend(amount, now).unwrap_or(now);
            }
        }
    }
}
