//! How many lines a second the log may have of one kind.

use parking_lot::Mutex;
use proto::TimestampMs;
use std::sync::atomic::{AtomicU64, Ordering};

/// See the module.
#[derive(Debug)]
pub(crate) struct Budget {
    per_sec: u32,
    used: Mutex<Used>,
    left_out: AtomicU64,
}

#[derive(Debug, Default)]
struct Used {
    second: u64,
    lines: u32,
    left_out: u64,
}

impl Budget {
    /// So many a second.
    pub(crate) fn new(per_sec: u32) -> Self {
        Self { per_sec, used: Mutex::default(), left_out: AtomicU64::new(0) }
    }

    /// Takes one; how many were left out since the last one, or `None` if there is none left.
    pub(crate) fn take(&self, now: TimestampMs) -> Option<u64> {
        let second = now.0 / 1000;
        let mut used = self.used.lock();
        if second != used.second {
            (used.second, used.lines) = (second, 0);
        }
        if used.lines >= self.per_sec {
            used.left_out += 1;
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        used.lines += 1;
        Some(std::mem::take(&mut used.left_out))
    }

    /// How many were left out since the start.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_of_at_a_bounded_rate_and_its_size_is_not_lost() {
        let budget = Budget::new(10);
        let told = (0..1000).filter(|_| budget.take(TimestampMs(5_000)).is_some()).count();
        assert_eq!((told, budget.left_out()), (10, 990));
        assert_eq!(budget.take(TimestampMs(6_000)), Some(990));
        assert_eq!(budget.take(TimestampMs(6_001)), Some(0));
    }
}
