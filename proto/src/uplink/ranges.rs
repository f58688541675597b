//! Sets of numbers that are mostly runs: which records have arrived.

use serde::{Deserialize, Serialize};

/// Numbers from the first on, as many as `count`; never empty in [`Ranges`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The first of them.
    pub first: u64,
    /// One more than the last.
    pub end: u64,
}

/// A set of numbers as runs, in order, none touching the next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ranges(Vec<Range>);

impl Range {
    /// How many numbers it has.
    pub fn len(&self) -> u64 {
        self.end.saturating_sub(self.first)
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.end <= self.first
    }
}

impl Ranges {
    /// The runs, in order.
    pub fn runs(&self) -> &[Range] {
        &self.0
    }

    /// Whether a number is among them.
    pub fn contains(&self, number: u64) -> bool {
        let at = self.0.partition_point(|run| run.end <= number);
        self.0.get(at).is_some_and(|run| run.first <= number)
    }

    /// Whether every number of a range is among them.
    pub fn covers(&self, range: Range) -> bool {
        let at = self.0.partition_point(|run| run.end <= range.first);
        range.is_empty()
            || self.0.get(at).is_some_and(|run| run.first <= range.first && range.end <= run.end)
    }

    /// Adds the numbers of a range.
    pub fn add(&mut self, range: Range) {
        if range.is_empty() {
            return;
        }
        let from = self.0.partition_point(|run| run.end < range.first);
        let to = self.0.partition_point(|run| run.first <= range.end);
        let touched = &self.0[from..to];
        let first = touched.first().map_or(range.first, |run| run.first.min(range.first));
        let end = touched.last().map_or(range.end, |run| run.end.max(range.end));
        self.0.splice(from..to, [Range { first, end }]);
    }

    /// The first run of numbers from `from` on and before `before` that is not among them.
    pub fn first_gap(&self, from: u64, before: u64) -> Option<Range> {
        let at = self.0.partition_point(|run| run.end <= from);
        let (first, next) = match self.0.get(at) {
            Some(run) if run.first <= from => (run.end, self.0.get(at + 1)),
            next => (from, next),
        };
        let end = next.map_or(before, |run| run.first.min(before));
        (first < end).then_some(Range { first, end })
    }

    /// One more than the highest, or 0.
    pub fn end(&self) -> u64 {
        self.0.last().map_or(0, |run| run.end)
    }

    /// How many numbers below the highest are not among them, from `from` on.
    pub fn missing_from(&self, from: u64) -> u64 {
        let above = self.0.iter().filter(|run| run.end > from);
        let have: u64 = above.map(|run| run.end - run.first.max(from)).sum();
        self.end().saturating_sub(from) - have
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn they_are_the_set_of_what_was_added(
            adds in proptest::collection::vec((0u64..60, 0u64..12), 0..20),
            (from, length) in (0u64..60, 0u64..20),
        ) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (first, length) in adds {
                ranges.add(Range { first, end: first + length });
                set.extend(first..first + length);
            }
            prop_assert!((0..80).all(|it| ranges.contains(it) == set.contains(&it)));
            prop_assert!(ranges.runs().windows(2).all(|it| it[0].end < it[1].first));
            prop_assert!(ranges.runs().iter().all(|it| !it.is_empty()));
            let range = Range { first: from, end: from + length };
            prop_assert_eq!(ranges.covers(range), (from..from + length).all(|it| set.contains(&it)));
            let gap = (from..from + length).find(|it| !set.contains(it)).map(|first| {
                let end = (first..from + length).find(|it| set.contains(it));
                Range { first, end: end.unwrap_or(from + length) }
            });
            prop_assert_eq!(ranges.first_gap(from, from + length), gap);
            let missing = (from..ranges.end()).filter(|it| !set.contains(it)).count() as u64;
            prop_assert_eq!(ranges.missing_from(from), missing);
        }
    }
}
