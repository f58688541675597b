//! How soon after a commit the next one may begin.
//!
//! An fsync costs the processor the same for one caller as for a hundred. When many wait for each commit, a moment's
//! patience halves the number of commits, and what is saved is there for those who wait. The moment is as long as the
//! commit was, so a fast disk has a short one; a caller that is alone, or one of few, never waits.

use std::time::Duration;
use tokio::time::Instant;

/// As many callers in one batch are many.
const MANY: usize = 8;

/// From the beginning of a commit for many to that of the next one, at most.
const GAP_MAX: Duration = Duration::from_millis(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Before it no commit begins.
    next: Option<Instant>,
}

impl Pace {
    /// A commit for so many callers, begun then, has ended now.
    pub(super) fn note(&mut self, callers: usize, is_synced: bool, begun: Instant, now: Instant) {
        let took = now.saturating_duration_since(begun);
        let is_crowd = is_synced && callers >= MANY;
        self.next = is_crowd.then(|| begun + GAP_MAX.min(took * 2));
    }

    /// How long the next one has to wait.
    pub(super) fn pause(&self, now: Instant) -> Option<Duration> {
        let left = self.next?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_crowds_that_want_an_fsync_wait_as_long_as_it_took_and_not_beyond_the_gap() {
        let start = Instant::now();
        for (callers, is_synced, took_us, later_us, expected_us) in [
            (MANY, true, 100, 0, Some(100)),
            (MANY, true, 100, 40, Some(60)),
            (MANY, true, 100, 100, None),
            (MANY, true, 700, 0, Some(300)),
            (MANY, true, 1000, 0, None),
            (MANY, true, 9000, 0, None),
            (MANY - 1, true, 100, 0, None),
            (MANY, false, 100, 0, None),
        ] {
            let after = |us| start + Duration::from_micros(us);
            let mut pace = Pace::default();
            pace.note(MANY, true, start, after(400));
            pace.note(callers, is_synced, start, after(took_us));
            let pause = pace.pause(after(took_us + later_us));
            assert_eq!(pause, expected_us.map(Duration::from_micros), "{callers} {took_us}");
        }
        assert_eq!(Pace::default().pause(start), None);
    }
}
