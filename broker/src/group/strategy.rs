//! Which member of a group gets a message. Pure: no locks, no clock, dice given.
//!
//! Whatever the strategy, only members with room are asked: to keep to a favourite that cannot send would be to wait
//! while somebody else is idle.

use serde::{Deserialize, Serialize};

/// How a shared subscription spreads its messages over its members.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SharedStrategy {
    /// In turn.
    #[default]
    RoundRobin,
    /// By chance.
    Random,
    /// All to one member, until it is gone.
    Sticky,
    /// Those of one publisher to one member.
    HashClient,
    /// Those of one topic to one member.
    HashTopic,
}

/// What a group remembers between two choices.
#[derive(Debug)]
pub(super) struct Turn {
    strategy: SharedStrategy,
    /// The member chosen last, or the one that is stuck to.
    last: u64,
    dice: u64,
}

impl Turn {
    /// `seed` makes the dice of this group its own.
    pub(super) fn new(strategy: SharedStrategy, seed: u64) -> Self {
        Self { strategy, last: 0, dice: seed }
    }

    /// The strategy.
    pub(super) fn strategy(&self) -> SharedStrategy {
        self.strategy
    }

    /// The place of the member to take, by the keys of all members in the order they came; `None` if none has room.
    /// `hash` is that of the publisher or the topic.
    pub(super) fn pick(
        &mut self,
        keys: &[u64],
        hash: u64,
        mut has_room: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        let last = keys.iter().position(|key| *key == self.last);
        match self.strategy {
            SharedStrategy::RoundRobin => {
                let first = last.map_or(0, |last| last + 1);
                let place = in_turn(keys.len(), first).find(|place| has_room(*place))?;
                self.last = keys[place];
                Some(place)
            }
            SharedStrategy::Sticky => {
                let first = last.unwrap_or(0);
                let place = in_turn(keys.len(), first).find(|place| has_room(*place))?;
                // One that is only full for the moment stays the favourite.
                if last.is_none() {
                    self.last = keys[place];
                }
                Some(place)
            }
            SharedStrategy::Random => {
                self.dice = mix(self.dice, 1);
                highest(keys, self.dice, has_room)
            }
            SharedStrategy::HashClient | SharedStrategy::HashTopic => highest(keys, hash, has_room),
        }
    }

    /// A member that was stuck to is gone.
    pub(super) fn forget(&mut self, is_there: impl FnOnce(u64) -> bool) {
        if self.strategy == SharedStrategy::Sticky && !is_there(self.last) {
            self.last = 0;
        }
    }
}

fn in_turn(count: usize, first: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |offset| (first + offset) % count)
}

/// Rendezvous hashing: a member that comes or goes moves only the keys that are its own.
fn highest(keys: &[u64], hash: u64, mut has_room: impl FnMut(usize) -> bool) -> Option<usize> {
    let weighed = keys.iter().enumerate().map(|(place, key)| (mix(hash, *key), place));
    let mut weighed: Vec<(u64, usize)> = weighed.collect();
    weighed.sort_unstable_by(|a, b| b.cmp(a));
    weighed.into_iter().map(|(_, place)| place).find(|place| has_room(*place))
}

/// The finaliser of SplitMix64 over two numbers.
fn mix(a: u64, b: u64) -> u64 {
    let mut bits = a.wrapping_add(b.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn strategies() -> impl Strategy<Value = SharedStrategy> {
        prop_oneof![
            Just(SharedStrategy::RoundRobin),
            Just(SharedStrategy::Random),
            Just(SharedStrategy::Sticky),
            Just(SharedStrategy::HashClient),
            Just(SharedStrategy::HashTopic),
        ]
    }

    proptest! {
        #[test]
        fn whoever_is_picked_has_room_and_somebody_is_if_anybody_has(
            strategy in strategies(),
            rooms in proptest::collection::vec(proptest::collection::vec(any::<bool>(), 5), 1..50),
            hash in any::<u64>(),
        ) {
            let keys = [11, 12, 13, 14, 15];
            let mut turn = Turn::new(strategy, 7);
            for room in rooms {
                let picked = turn.pick(&keys, hash, |place| room[place]);
                prop_assert_eq!(picked.is_some(), room.contains(&true));
                prop_assert!(picked.is_none_or(|place| room[place]));
            }
        }

        #[test]
        fn a_member_that_goes_moves_only_its_own_keys(hashes in proptest::collection::vec(any::<u64>(), 50)) {
            let mut turn = Turn::new(SharedStrategy::HashTopic, 7);
            let (all, fewer) = ([1, 2, 3, 4], [1, 2, 4]);
            for hash in hashes {
                let before = all[turn.pick(&all, hash, |_| true).unwrap()];
                let after = fewer[turn.pick(&fewer, hash, |_| true).unwrap()];
                prop_assert!(before == 3 || before == after);
            }
        }
    }

    fn spread(strategy: SharedStrategy, hash: impl Fn(u64) -> u64) -> HashMap<usize, u32> {
        let mut turn = Turn::new(strategy, 7);
        let mut counts = HashMap::new();
        for number in 0..3000 {
            *counts.entry(turn.pick(&[1, 2, 3], hash(number), |_| true).unwrap()).or_default() += 1;
        }
        counts
    }

    #[test]
    fn each_strategy_spreads_as_it_says() {
        assert_eq!(
            spread(SharedStrategy::RoundRobin, |_| 0),
            HashMap::from([(0, 1000), (1, 1000), (2, 1000)])
        );
        assert_eq!(spread(SharedStrategy::Sticky, |_| 0).len(), 1);
        assert_eq!(spread(SharedStrategy::HashTopic, |_| 5).len(), 1);
        let by_topic = spread(SharedStrategy::HashTopic, |number| mix(number, 0));
        for counts in [by_topic, spread(SharedStrategy::Random, |_| 0)] {
            assert!(counts.len() == 3 && counts.values().all(|count| *count > 800), "{counts:?}");
        }
    }

    #[test]
    fn a_favourite_that_is_full_for_the_moment_stays_the_favourite() {
        let mut turn = Turn::new(SharedStrategy::Sticky, 7);
        assert_eq!(turn.pick(&[1, 2], 0, |_| true), Some(0));
        assert_eq!(turn.pick(&[1, 2], 0, |place| place == 1), Some(1));
        assert_eq!(turn.pick(&[1, 2], 0, |_| true), Some(0));
        turn.forget(|key| key == 2);
        assert_eq!(turn.pick(&[2], 0, |_| true), Some(0));
    }
}
