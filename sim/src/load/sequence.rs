//! Loss and duplication on one stream of numbered messages.
//!
//! A stream is one publisher seen by one subscriber; its numbers start at 0 and rise by one. The
//! last [`WINDOW`] numbers are remembered one by one, so a late message is told from a repeated
//! one; anything older counts as repeated.

/// Numbers remembered behind the highest one seen.
pub const WINDOW: u64 = 1024;

const WORDS: usize = (WINDOW / 64) as usize;

/// What a number meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The next number, or one that leaves a gap behind it.
    New,
    /// A number from an earlier gap: out of order, but not lost.
    Late,
    /// A number that was seen before, or too old to know.
    Duplicate,
}

/// The state of one stream.
#[derive(Debug, Clone, Default)]
pub struct Sequence {
    next: u64,
    seen: [u64; WORDS],
}

impl Sequence {
    /// Takes in the number of a received message.
    pub fn observe(&mut self, number: u64) -> Seen {
        if number >= self.next {
            // Only the skipped numbers need clearing, and at most one lap of the ring.
            for skipped in self.next.max(number.saturating_sub(WINDOW))..number {
                self.set(skipped, false);
            }
            self.set(number, true);
            self.next = number.saturating_add(1);
            return Seen::New;
        }
        if self.next - number > WINDOW || self.is_set(number) {
            return Seen::Duplicate;
        }
        self.set(number, true);
        Seen::Late
    }

    /// One more than the highest number seen.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    fn is_set(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        self.seen[word] >> bit & 1 == 1
    }

    fn set(&mut self, number: u64, is_seen: bool) {
        let (word, bit) = place(number);
        self.seen[word] = self.seen[word] & !(1 << bit) | u64::from(is_seen) << bit;
    }
}

fn place(number: u64) -> (usize, u64) {
    let slot = number % WINDOW;
    ((slot / 64) as usize, slot % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unbroken_stream_is_all_new() {
        let mut sequence = Sequence::default();
        assert!((0..5000).all(|number| sequence.observe(number) == Seen::New));
        assert_eq!(sequence.next(), 5000);
    }

    #[test]
    fn repeats_are_duplicates_and_gap_fillers_are_late_once() {
        let mut sequence = Sequence::default();
        let numbers = [0, 1, 1, 4, 2, 2, 3, 0, 5];
        let seen: Vec<Seen> = numbers.iter().map(|&number| sequence.observe(number)).collect();
        use Seen::{Duplicate, Late, New};
        assert_eq!(seen, [New, New, Duplicate, New, Late, Duplicate, Late, Duplicate, New]);
    }

    #[test]
    fn the_ring_forgets_what_lies_a_lap_behind() {
        let mut sequence = Sequence::default();
        sequence.observe(0);
        sequence.observe(WINDOW * 3);
        assert_eq!(sequence.observe(WINDOW * 2), Seen::Duplicate);
        assert_eq!(sequence.observe(WINDOW * 2 + 1), Seen::Late);
        assert_eq!(sequence.observe(WINDOW * 3), Seen::Duplicate);
    }

    #[test]
    fn it_agrees_with_a_set_on_a_shuffled_stream() {
        let mut sequence = Sequence::default();
        let mut set = std::collections::HashSet::new();
        let mut state: u64 = 7;
        for base in 0..20_000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let number = base.saturating_sub(state >> 33 & 0x1FF);
            let is_new = sequence.observe(number) != Seen::Duplicate;
            assert_eq!(is_new, set.insert(number), "{number}");
        }
    }
}
