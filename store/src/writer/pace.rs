//! How soon after a commit the next one may begin.
//!
//! An fsync costs the processor the same for one caller as for a hundred. When many wait for each commit, a moment's
//! patience halves their number, and what is saved is there for those who wait; a caller that is alone, or one of few,
//! never waits.

use std::time::Duration;
use tokio::time::Instant;

/// As many callers in one batch are many.
const MANY: usize = 8;

/// From the beginning of a commit for many to that of the next one.
const GAP: Duration = Duration::from_millis(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the last commit began, if many waited for its fsync.
    crowded: Option<Instant>,
}

impl Pace {
    /// A commit begins for so many callers.
    pub(super) fn note(&mut self, callers: usize, is_synced: bool, now: Instant) {
        self.crowded = (is_synced && callers >= MANY).then_some(now);
    }

    /// How long the next one has to wait.
    pub(super) fn pause(&self, now: Instant) -> Option<Duration> {
        let begun = self.crowded?;
        GAP.checked_sub(now.saturating_duration_since(begun)).filter(|pause| !pause.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_who_come_in_crowds_and_want_an_fsync_wait_and_no_longer_than_the_gap() {
        let start = Instant::now();
        for (callers, is_synced, after_us, expected_us) in [
            (MANY, true, 0, Some(1000)),
            (MANY, true, 400, Some(600)),
            (MANY, true, 1000, None),
            (MANY, true, 5000, None),
            (MANY - 1, true, 0, None),
            (MANY, false, 0, None),
        ] {
            let mut pace = Pace::default();
            pace.note(MANY, true, start);
            pace.note(callers, is_synced, start);
            let pause = pace.pause(start + Duration::from_micros(after_us));
            assert_eq!(pause, expected_us.map(Duration::from_micros), "{callers} {after_us}");
        }
        assert_eq!(Pace::default().pause(start), None);
    }
}
