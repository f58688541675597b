//! When to read which points: a pure poll schedule.
//!
//! Points with one interval form a group, and all groups start together, so that intervals which
//! divide each other fall due in the same moment and share requests. A tick is a multiple of the
//! interval after the start, however late the caller comes: there is no drift. Ticks that passed
//! while the caller was busy are skipped and counted, never made up for: a machine that is too slow
//! is not asked even more.

use crate::config::POLL_INTERVAL_MS_MIN;
use crate::port::PointId;
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
struct Group {
    interval_ms: u64,
    next_due_ms: u64,
    points: Vec<PointId>,
}

/// The schedule of one driver. Times are milliseconds of any clock that does not go back.
#[derive(Debug, Clone)]
pub struct Schedule {
    groups: Vec<Group>,
    ticks_missed: u64,
}

impl Schedule {
    /// A schedule of points with their intervals in milliseconds; every point is due at `start_ms`.
    ///
    /// Intervals below the configurable minimum are raised to it.
    pub fn new(points: impl IntoIterator<Item = (PointId, u32)>, start_ms: u64) -> Self {
        let mut by_interval: BTreeMap<u32, Vec<PointId>> = BTreeMap::new();
        for (point, interval_ms) in points {
            by_interval.entry(interval_ms.max(POLL_INTERVAL_MS_MIN)).or_default().push(point);
        }
        let group = |(interval_ms, points)| Group {
            interval_ms: u64::from(interval_ms),
            next_due_ms: start_ms,
            points,
        };
        Self { groups: by_interval.into_iter().map(group).collect(), ticks_missed: 0 }
    }

    /// The points due at `now_ms`, in order, each once; they are next due one interval after their
    /// last tick.
    pub fn take_due(&mut self, now_ms: u64) -> Vec<PointId> {
        let mut due = Vec::new();
        for group in &mut self.groups {
            let Some(late_ms) = now_ms.checked_sub(group.next_due_ms) else { continue };
            let missed = late_ms / group.interval_ms;
            self.ticks_missed = self.ticks_missed.saturating_add(missed);
            let passed_ms = (missed + 1).saturating_mul(group.interval_ms);
            group.next_due_ms = group.next_due_ms.saturating_add(passed_ms);
            due.extend_from_slice(&group.points);
        }
        due.sort_unstable();
        due.dedup();
        due
    }

    /// When the next point is due; `None` without points.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.groups.iter().map(|group| group.next_due_ms).min()
    }

    /// Ticks of a group that passed without a read, since the schedule was made.
    pub fn ticks_missed(&self) -> u64 {
        self.ticks_missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids(due: &[PointId]) -> Vec<u32> {
        due.iter().map(|point| point.0).collect()
    }

    #[test]
    fn groups_fall_due_by_their_interval() {
        let points = [(PointId(2), 500), (PointId(0), 1000), (PointId(1), 500)];
        let mut schedule = Schedule::new(points, 40);
        for (now_ms, due, next_ms) in [
            (39, vec![], 40),
            (40, vec![0, 1, 2], 540),
            (40, vec![], 540),
            (539, vec![], 540),
            (545, vec![1, 2], 1040),
            (1040, vec![0, 1, 2], 1540),
            (1039, vec![], 1540),
        ] {
            assert_eq!(ids(&schedule.take_due(now_ms)), due, "at {now_ms}");
            assert_eq!(schedule.next_due_ms(), Some(next_ms), "after {now_ms}");
        }
        assert_eq!(schedule.ticks_missed(), 0);
    }

    #[test]
    fn missed_ticks_are_skipped_and_counted() {
        let mut schedule = Schedule::new([(PointId(0), 100)], 0);
        assert_eq!(schedule.take_due(0).len(), 1);
        assert_eq!(ids(&schedule.take_due(350)), [0]);
        assert_eq!(schedule.ticks_missed(), 2);
        assert_eq!(schedule.next_due_ms(), Some(400), "still a multiple of the interval");
    }

    #[test]
    fn extremes_neither_hang_nor_overflow() {
        let mut empty = Schedule::new([], 0);
        assert_eq!((empty.take_due(u64::MAX).len(), empty.next_due_ms()), (0, None));
        let mut schedule = Schedule::new([(PointId(0), 0)], 0);
        assert_eq!(schedule.take_due(u64::MAX).len(), 1);
        assert_eq!(schedule.next_due_ms(), Some(u64::MAX));
    }

    proptest! {
        #[test]
        fn no_drift_however_late_the_caller(
            interval_ms in 10_u32..5000,
            steps_ms in proptest::collection::vec(0_u64..20_000, 1..50),
        ) {
            let mut schedule = Schedule::new([(PointId(0), interval_ms)], 7);
            let interval_ms = u64::from(interval_ms);
            let (mut now_ms, mut reads) = (7, 0);
            for step_ms in steps_ms {
                now_ms += step_ms;
                reads += schedule.take_due(now_ms).len() as u64;
                let next_ms = schedule.next_due_ms().unwrap();
                prop_assert!(next_ms > now_ms && next_ms <= now_ms + interval_ms);
                prop_assert_eq!((next_ms - 7) % interval_ms, 0);
                prop_assert_eq!(reads + schedule.ticks_missed(), (next_ms - 7) / interval_ms);
            }
        }
    }
}
