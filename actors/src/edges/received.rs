//! Which records of an edge node are here.

use super::row::EdgeKey;
use proto::uplink::{Range, Ranges};
use serde::{Deserialize, Serialize};
use store::{Row, RowError};

/// Runs of numbers of one edge node. Edge nodes that are well make far fewer; each is remembered in memory and on disk.
pub(super) const RUNS_MAX: usize = 4096;

/// What of one life of an edge node's data folder has arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReceivedRow {
    /// Which life; another one begins with nothing.
    pub(super) epoch: u64,
    /// The numbers of what is here, or will never come.
    pub(super) numbers: Ranges,
    /// Records taken in, in all lives.
    pub(super) records: u64,
    /// Records that came more than once.
    pub(super) again: u64,
    /// Records that the edge node had to drop.
    pub(super) lost: u64,
    /// Records on topics that no edge node may publish on.
    pub(super) refused: u64,
}

impl ReceivedRow {
    /// The same, for what comes of a life.
    pub(super) fn of_life(mut self, epoch: u64) -> Self {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.numbers = Ranges::default();
        }
        self
    }

    /// Counts the numbers of a gap; how many of them were not here.
    pub(super) fn lose(&mut self, range: Range) -> u64 {
        let mut lost = 0;
        let mut from = range.first;
        while let Some(gap) = self.numbers.first_gap(from, range.end) {
            lost += gap.len();
            from = gap.end;
        }
        self.numbers.add(range);
        self.lost += lost;
        lost
    }

    /// Whether it has more runs than an edge node that is well can make.
    pub(super) fn is_torn(&self) -> bool {
        self.numbers.runs().len() > RUNS_MAX
    }
}

impl Row for ReceivedRow {
    type Key = EdgeKey;
    const TABLE: &'static str = "edge_records";
    const VERSION: u8 = 1;
    fn encode(&self, out: &mut Vec<u8>) {
        store::encode_json(self, out);
    }
    fn decode(version: u8, bytes: &[u8]) -> Result<Self, RowError> {
        store::decode_json::<Self>(version, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_life_begins_with_nothing_and_a_gap_counts_what_was_missing() {
        let mut row = ReceivedRow::default().of_life(7);
        row.numbers.add(Range { first: 0, end: 10 });
        row.numbers.add(Range { first: 14, end: 16 });
        assert_eq!(row.lose(Range { first: 8, end: 20 }), 8);
        assert_eq!((row.lost, row.numbers.runs().len()), (8, 1));
        assert_eq!(row.clone().of_life(7), row);
        let other = row.of_life(8);
        assert_eq!((other.numbers.end(), other.lost), (0, 8));
    }
}
