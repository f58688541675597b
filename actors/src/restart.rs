//! When a failed child is started again, without I/O: backoff, budget, and what follows.
//!
//! Every supervisor of the tree keeps one [`Failures`] a child and asks it what to do; the
//! supervisor's own module says what giving up means there. Times are milliseconds of a clock that
//! only rises.

use std::collections::VecDeque;

/// How patient a supervisor is with one child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Restarts allowed within [`Self::window_ms`].
    pub restarts_max: usize,
    /// The span that restarts are counted in, in milliseconds.
    pub window_ms: u64,
    /// The pause before the first restart, in milliseconds; it doubles with each further one in the
    /// window.
    pub backoff_ms: u64,
    /// The longest pause, in milliseconds.
    pub backoff_ms_max: u64,
}

impl Default for RestartPolicy {
    /// Five restarts in a minute: a passing fault is ridden out, a lasting one is seen within
    /// seconds.
    fn default() -> Self {
        Self { restarts_max: 5, window_ms: 60_000, backoff_ms: 50, backoff_ms_max: 5_000 }
    }
}

/// What to do with a child that has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Start it again after so many milliseconds.
    RestartAfter(u64),
    /// The budget is used up.
    GiveUp,
}

/// The recent failures of one child.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Failures {
    /// When, oldest first; at most `restarts_max` of them.
    times_ms: VecDeque<u64>,
}

impl Failures {
    /// Takes a failure in.
    pub(crate) fn record(&mut self, policy: &RestartPolicy, now_ms: u64) -> Verdict {
        self.forget_old(policy, now_ms);
        let earlier = self.times_ms.len();
        if earlier >= policy.restarts_max {
            return Verdict::GiveUp;
        }
        self.times_ms.push_back(now_ms);
        let doublings = u32::try_from(earlier).unwrap_or(u32::MAX);
        let factor = 2_u64.checked_pow(doublings).unwrap_or(u64::MAX);
        Verdict::RestartAfter(policy.backoff_ms.saturating_mul(factor).min(policy.backoff_ms_max))
    }

    /// Whether every failure is too old to count.
    pub(crate) fn is_forgotten(&mut self, policy: &RestartPolicy, now_ms: u64) -> bool {
        self.forget_old(policy, now_ms);
        self.times_ms.is_empty()
    }

    fn forget_old(&mut self, policy: &RestartPolicy, now_ms: u64) {
        while self.times_ms.front().is_some_and(|time_ms| now_ms - time_ms > policy.window_ms) {
            self.times_ms.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RestartPolicy =
        RestartPolicy { restarts_max: 3, window_ms: 100, backoff_ms: 10, backoff_ms_max: 25 };

    #[test]
    fn the_pause_doubles_up_to_its_bound_and_the_budget_ends() {
        let mut failures = Failures::default();
        let verdicts: Vec<Verdict> = (0..5).map(|now| failures.record(&POLICY, now)).collect();
        use Verdict::{GiveUp, RestartAfter};
        let expected = [RestartAfter(10), RestartAfter(20), RestartAfter(25), GiveUp, GiveUp];
        assert_eq!(verdicts, expected);
    }

    #[test]
    fn old_failures_do_not_count() {
        let mut failures = Failures::default();
        for now in [0, 60, 120, 180, 240] {
            assert!(matches!(failures.record(&POLICY, now), Verdict::RestartAfter(_)), "{now}");
        }
        assert!(!failures.is_forgotten(&POLICY, 340));
        assert!(failures.is_forgotten(&POLICY, 341));
    }
}
