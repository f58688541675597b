//! The blocks that wait to go up, which of their records the hub has, and what was dropped. Plain state: no I/O, no
//! clock.

use super::rows::{BlockRow, GapRow};
use proto::TimestampMs;
use proto::uplink::{GapReason, Range, Ranges};
use std::collections::BTreeMap;

/// A block is worth packing up to this part of what is packed at once. One that was packed is larger.
const SMALL_PART: u64 = 16;

/// A block that is in the store, or on its way there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    /// Its place in the queue.
    pub(super) seq: u64,
    pub(super) row: BlockRow,
    pub(super) state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its commit is under way.
    Writing,
    Waiting,
    /// It is being made into a larger one.
    Packing,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Shelf {
    /// By the first number of each.
    blocks: BTreeMap<u64, Kept>,
    gaps: BTreeMap<u64, GapRow>,
    acked: Ranges,
    bytes: u64,
    records: u64,
    is_packing: bool,
    /// Records that the hub will never get, since the start.
    lost: u64,
    next: u64,
    next_seq: u64,
}

impl Shelf {
    /// What was found in the store. Numbers that are nowhere are lost.
    pub(super) fn load(
        acked: Ranges,
        blocks: impl IntoIterator<Item = (u64, BlockRow)>,
        gaps: impl IntoIterator<Item = GapRow>,
    ) -> Self {
        let gaps = gaps.into_iter().map(|gap| (gap.range.first, gap)).collect();
        let mut shelf = Self {
            blocks: BTreeMap::new(),
            gaps,
            acked,
            bytes: 0,
            records: 0,
            is_packing: false,
            lost: 0,
            next: 0,
            next_seq: 1,
        };
        for (seq, row) in blocks {
            shelf.insert(Kept { seq, row, state: State::Waiting });
            shelf.next_seq = shelf.next_seq.max(seq + 1);
        }
        let end = |range: Range| range.end;
        let ends = shelf.blocks.values().map(|kept| end(kept.row.range));
        let ends = ends.chain(shelf.gaps.values().map(|gap| end(gap.range)));
        shelf.next = ends.chain([shelf.acked.end()]).max().unwrap_or(0);
        shelf.find_lost();
        shelf
    }

    /// The numbers below the next that are neither here nor with the hub.
    fn find_lost(&mut self) {
        let mut known = self.acked.clone();
        self.blocks.values().for_each(|kept| known.add(kept.row.range));
        self.gaps.values().for_each(|gap| known.add(gap.range));
        let mut from = 0;
        while let Some(range) = known.first_gap(from, self.next) {
            let unknown = TimestampMs(0);
            self.lose(range, GapReason::Store, [unknown, unknown]);
            from = range.end;
        }
    }

    /// The number of the next record, and the place of the next block.
    pub(super) fn next(&self) -> (u64, u64) {
        (self.next, self.next_seq)
    }

    /// Gives no number again that the hub has, as a data folder would that was put back without the program's doing;
    /// says whether it would have.
    pub(super) fn skip_to(&mut self, end: u64) -> bool {
        let is_behind = self.next < end;
        self.next = self.next.max(end);
        is_behind
    }

    /// Takes up a block whose commit has begun.
    pub(super) fn add(&mut self, row: BlockRow) {
        self.next = row.range.end;
        self.insert(Kept { seq: self.next_seq, row, state: State::Writing });
        self.next_seq += 1;
    }

    fn insert(&mut self, kept: Kept) {
        self.bytes += kept.row.bytes;
        self.records += kept.row.range.len();
        self.blocks.insert(kept.row.range.first, kept);
    }

    fn take(&mut self, first: u64) -> Option<Kept> {
        let kept = self.blocks.remove(&first)?;
        self.bytes -= kept.row.bytes;
        self.records -= kept.row.range.len();
        Some(kept)
    }

    /// The commit of a block has ended.
    pub(super) fn settle(&mut self, first: u64, is_committed: bool) {
        if is_committed {
            if let Some(kept) = self.blocks.get_mut(&first) {
                kept.state = State::Waiting;
            }
        } else if let Some(kept) = self.take(first) {
            self.lose(kept.row.range, GapReason::Store, [kept.row.at, kept.row.at]);
        }
    }

    /// The block with a number, or the next one after it; `None` also while that is being written.
    pub(super) fn find(&self, number: u64) -> Option<Kept> {
        let holding = self.blocks.range(..=number).next_back().map(|(_, kept)| *kept);
        let holding = holding.filter(|kept| number < kept.row.range.end);
        let found = holding.or_else(|| self.blocks.range(number..).next().map(|(_, kept)| *kept));
        found.filter(|kept| kept.state != State::Writing)
    }

    /// The hub has these records. What needs no block any more is given up: its places in the queue.
    pub(super) fn ack(&mut self, range: Range) -> Vec<u64> {
        if range.is_empty() {
            return Vec::new();
        }
        self.acked.add(range);
        let from = self.blocks.range(..=range.first).next_back().map_or(range.first, |(at, _)| *at);
        let touched = self.blocks.range(from..range.end).map(|(_, kept)| *kept);
        let done = |kept: &Kept| kept.state == State::Waiting && self.acked.covers(kept.row.range);
        let done: Vec<Kept> = touched.filter(done).collect();
        done.into_iter()
            .filter_map(|kept| self.take(kept.row.range.first))
            .map(|it| it.seq)
            .collect()
    }

    /// Drops the oldest block, if that may be; it is then a gap.
    fn drop_oldest(&mut self, reason: GapReason) -> Option<Kept> {
        let oldest = *self.blocks.first_key_value().map(|(_, kept)| kept)?;
        if oldest.state != State::Waiting {
            return None;
        }
        self.take(oldest.row.range.first);
        // Times lie between the beginnings of blocks.
        let newest = self.blocks.first_key_value().map_or(oldest.row.at, |(_, kept)| kept.row.at);
        let mut from = oldest.row.range.first;
        while let Some(range) = self.acked.first_gap(from, oldest.row.range.end) {
            self.lose(range, reason, [oldest.row.at, newest]);
            from = range.end;
        }
        Some(oldest)
    }

    /// Drops the oldest blocks until the others are within the bound; they and the gaps that there are now.
    pub(super) fn bound_bytes(&mut self, bytes_max: u64) -> Vec<Kept> {
        let mut dropped = Vec::new();
        while self.bytes > bytes_max {
            let Some(kept) = self.drop_oldest(GapReason::Bytes) else { break };
            dropped.push(kept);
        }
        dropped
    }

    /// Drops the blocks of which every record was published before a moment.
    pub(super) fn bound_age(&mut self, before: TimestampMs) -> Vec<Kept> {
        let mut dropped = Vec::new();
        // A block is as young as the next one is at least old.
        while let Some((_, second)) = self.blocks.iter().nth(1)
            && second.row.at < before
        {
            let Some(kept) = self.drop_oldest(GapReason::Age) else { break };
            dropped.push(kept);
        }
        dropped
    }

    /// Numbers that the hub will never get.
    pub(super) fn lose(
        &mut self,
        range: Range,
        reason: GapReason,
        [oldest, newest]: [TimestampMs; 2],
    ) {
        self.lost += range.len();
        let gap = GapRow { range, reason, oldest, newest };
        // Drops follow one another: they are one gap.
        let before = self.gaps.range_mut(..range.first).next_back().map(|(_, gap)| gap);
        match before.filter(|before| before.range.end == range.first && before.reason == reason) {
            Some(before) => {
                before.range.end = range.end;
                before.newest = newest;
            }
            None => drop(self.gaps.insert(range.first, gap)),
        }
    }

    /// What was dropped and the hub has yet to be told of.
    pub(super) fn gaps(&self) -> impl Iterator<Item = &GapRow> {
        self.gaps.values()
    }

    /// The hub has been told of a gap; `false` if it has grown since.
    pub(super) fn told(&mut self, gap: &GapRow) -> bool {
        self.acked.add(gap.range);
        let is_same = self.gaps.get(&gap.range.first) == Some(gap);
        if is_same {
            self.gaps.remove(&gap.range.first);
        }
        is_same
    }

    /// The oldest blocks that are small, one after the other and all waiting, from a number on: until they are large
    /// together. They count as being packed from now on. None if it is not worth while, or while others are being
    /// packed.
    pub(super) fn begin_packing(
        &mut self,
        from: u64,
        (blocks_min, bytes_max): (usize, u64),
    ) -> Vec<Kept> {
        let mut found: Vec<Kept> = Vec::new();
        let mut bytes = 0;
        if self.is_packing {
            return found;
        }
        for kept in self.blocks.range(from..).map(|(_, kept)| kept) {
            let is_small = kept.row.bytes <= bytes_max / SMALL_PART;
            let follows =
                found.last().is_none_or(|last| last.row.range.end == kept.row.range.first);
            if kept.state != State::Waiting || !is_small || !follows {
                if found.len() >= blocks_min || kept.state == State::Writing {
                    break;
                }
                found.clear();
                bytes = 0;
                continue;
            }
            bytes += kept.row.bytes;
            found.push(*kept);
            if bytes >= bytes_max {
                break;
            }
        }
        if found.len() < blocks_min && bytes < bytes_max {
            return Vec::new();
        }
        self.is_packing = true;
        for kept in &found {
            if let Some(kept) = self.blocks.get_mut(&kept.row.range.first) {
                kept.state = State::Packing;
            }
        }
        found
    }

    /// Blocks have become one, at the place of the first of them; or not.
    pub(super) fn packed(&mut self, parts: &[Kept], whole: Option<BlockRow>) {
        self.is_packing = false;
        for part in parts {
            match whole {
                Some(_) => drop(self.take(part.row.range.first)),
                None => self.settle(part.row.range.first, true),
            }
        }
        if let (Some(first), Some(row)) = (parts.first(), whole) {
            self.insert(Kept { seq: first.seq, row, state: State::Waiting });
        }
    }

    /// What the hub has, or is never to get.
    pub(super) fn acked(&self) -> &Ranges {
        &self.acked
    }

    /// The places of blocks that are of no use, as after acknowledgements that came while they were packed.
    pub(super) fn sweep(&mut self) -> Vec<u64> {
        let is_done =
            |kept: &&Kept| kept.state == State::Waiting && self.acked.covers(kept.row.range);
        let done: Vec<u64> =
            self.blocks.values().filter(is_done).map(|kept| kept.row.range.first).collect();
        done.into_iter().filter_map(|first| self.take(first)).map(|kept| kept.seq).collect()
    }

    /// Blocks, records in them, and their bytes.
    pub(super) fn size(&self) -> (usize, u64, u64) {
        (self.blocks.len(), self.records, self.bytes)
    }

    /// Records that the hub will never get, since the start.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// When the oldest record that waits was published.
    pub(super) fn oldest(&self) -> Option<TimestampMs> {
        self.blocks.first_key_value().map(|(_, kept)| kept.row.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(first: u64, end: u64, bytes: u64) -> BlockRow {
        BlockRow { range: Range { first, end }, bytes, at: TimestampMs(first) }
    }

    fn empty() -> Shelf {
        Shelf::load(Ranges::default(), [], [])
    }

    fn with(lengths: &[u64]) -> Shelf {
        let mut shelf = empty();
        for length in lengths {
            let (first, _) = shelf.next();
            shelf.add(row(first, first + length, 10));
            shelf.settle(first, true);
        }
        shelf
    }

    fn gaps(shelf: &Shelf) -> Vec<(u64, u64, GapReason)> {
        shelf.gaps().map(|gap| (gap.range.first, gap.range.end, gap.reason)).collect()
    }

    #[test]
    fn a_block_is_read_when_it_is_committed_and_goes_when_all_of_it_has_arrived() {
        let mut shelf = empty();
        shelf.add(row(0, 4, 10));
        assert_eq!(shelf.find(0), None);
        shelf.settle(0, true);
        assert_eq!(shelf.find(2).map(|kept| kept.seq), Some(1));
        assert!(shelf.ack(Range { first: 0, end: 3 }).is_empty());
        assert_eq!(shelf.ack(Range { first: 3, end: 4 }), [1]);
        assert_eq!((shelf.size(), shelf.next()), ((0, 0, 0), (4, 2)));
    }

    #[test]
    fn no_number_is_given_that_the_hub_has() {
        let mut shelf = with(&[3]);
        assert!(!shelf.skip_to(3));
        assert!(shelf.skip_to(9));
        assert_eq!(shelf.next().0, 9);
    }

    #[test]
    fn numbers_of_a_commit_that_failed_are_a_gap() {
        let mut shelf = with(&[2]);
        shelf.add(row(2, 5, 10));
        shelf.settle(2, false);
        assert_eq!(gaps(&shelf), [(2, 5, GapReason::Store)]);
        assert_eq!((shelf.next().0, shelf.lost()), (5, 3));
    }

    #[test]
    fn the_oldest_are_dropped_at_the_bounds_and_are_one_gap() {
        let mut shelf = with(&[2, 2, 2, 2]);
        shelf.ack(Range { first: 3, end: 4 });
        assert_eq!(shelf.bound_bytes(20).len(), 2);
        assert_eq!(gaps(&shelf), [(0, 3, GapReason::Bytes)]);
        assert_eq!(shelf.bound_age(TimestampMs(6)).len(), 0, "the next one is not older");
        assert_eq!(shelf.bound_age(TimestampMs(7)).len(), 1);
        let gap = *shelf.gaps().nth(1).unwrap();
        assert_eq!((gap.range, gap.reason), (Range { first: 4, end: 6 }, GapReason::Age));
        assert!(shelf.told(&gap));
        assert_eq!(shelf.gaps().count(), 1);
        // One that grows while the hub is told of it is told of again.
        let before = *shelf.gaps().next().unwrap();
        shelf.lose(Range { first: 3, end: 4 }, GapReason::Bytes, [TimestampMs(0); 2]);
        assert!(!shelf.told(&before));
    }

    #[test]
    fn what_is_nowhere_after_a_start_is_lost() {
        let mut acked = Ranges::default();
        acked.add(Range { first: 0, end: 3 });
        let blocks = [(7, row(5, 6, 10)), (9, row(8, 9, 10))];
        let shelf = Shelf::load(acked, blocks, []);
        assert_eq!(gaps(&shelf), [(3, 5, GapReason::Store), (6, 8, GapReason::Store)]);
        assert_eq!(shelf.next(), (9, 10));
    }

    #[test]
    fn small_blocks_become_a_large_one_at_the_place_of_the_first() {
        let mut shelf = with(&[2, 2, 2, 2]);
        assert_eq!(shelf.begin_packing(0, (5, 1000)), []);
        let parts = shelf.begin_packing(2, (3, 1000));
        assert_eq!(parts.iter().map(|kept| kept.seq).collect::<Vec<u64>>(), [2, 3, 4]);
        assert_eq!(shelf.bound_bytes(30).len(), 1, "only what is not being packed");
        assert_eq!(shelf.bound_bytes(20).len(), 0);
        // It arrives meanwhile, and is given up afterwards.
        assert!(shelf.ack(Range { first: 2, end: 8 }).is_empty());
        shelf.packed(&parts, Some(row(2, 8, 15)));
        assert_eq!(shelf.find(5).map(|kept| (kept.seq, kept.row.bytes)), Some((2, 15)));
        assert_eq!(shelf.sweep(), [2]);
    }

    proptest! {
        /// Whatever happens, each number is waiting, with the hub, or told to be lost.
        #[test]
        fn no_number_is_forgotten(
            steps in proptest::collection::vec((0u8..7, 0u64..40, 1u64..6), 0..60),
        ) {
            let mut shelf = empty();
            let mut packing: Vec<Kept> = Vec::new();
            for (step, at, length) in steps {
                match step {
                    0 | 1 => {
                        let (first, _) = shelf.next();
                        shelf.add(row(first, first + length, 10));
                        shelf.settle(first, at != 0);
                    }
                    2 => drop(shelf.ack(Range { first: at, end: (at + length).min(shelf.next().0) })),
                    3 => drop(shelf.bound_bytes(at * 2)),
                    4 => drop(shelf.bound_age(TimestampMs(at))),
                    5 if packing.is_empty() => packing = shelf.begin_packing(at, (2, 40)),
                    _ => {
                        let parts = std::mem::take(&mut packing);
                        let ends = parts.first().zip(parts.last());
                        let whole = ends.map(|(a, b)| row(a.row.range.first, b.row.range.end, 5));
                        shelf.packed(&parts, whole.filter(|_| length > 2));
                    }
                }
            }
            let mut known = shelf.acked().clone();
            shelf.gaps().for_each(|gap| known.add(gap.range));
            shelf.blocks.values().for_each(|kept| known.add(kept.row.range));
            let all = Range { first: 0, end: shelf.next().0 };
            prop_assert!(known.covers(all));
            let sum = |of: fn(&Kept) -> u64| shelf.blocks.values().map(of).sum::<u64>();
            prop_assert_eq!(shelf.bytes, sum(|kept| kept.row.bytes));
            prop_assert_eq!(shelf.records, sum(|kept| kept.row.range.len()));
        }
    }
}
