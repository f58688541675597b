//! What operators see of a namespace, and what they do to it by hand.
//!
//! - [`clients`]: connections, and the sessions that wait for their clients
//! - [`figures`]: what there is in all
//! - [`rates`]: how much a connection carries in a second
//! - [`subscriptions`], [`retained`]: what they say
//!
//! Reading is bounded: a page holds at most as many rows as were asked for, and stops earlier when it has taken
//! [`PATIENCE`]; then it says where to go on. No lock is held while the store is read.

pub(crate) mod clients;
pub(crate) mod figures;
pub(crate) mod rates;
pub(crate) mod retained;
pub(crate) mod subscriptions;

use std::time::Duration;

/// After so long a page ends with what it has.
pub(crate) const PATIENCE: Duration = Duration::from_millis(200);

/// A part of a list, in its order.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T, K> {
    /// The rows; none of them, and there may still be more.
    pub items: Vec<T>,
    /// Where the next page begins; absent on the last one.
    pub next: Option<K>,
}

/// The first `count` of `all` in their order, with memory for twice as many.
pub(crate) fn first<T: Ord>(all: impl Iterator<Item = T>, count: usize) -> Vec<T> {
    let count = count.max(1);
    let mut kept = Vec::new();
    for it in all {
        kept.push(it);
        if kept.len() == 2 * count {
            kept.select_nth_unstable(count - 1);
            kept.truncate(count);
        }
    }
    kept.sort_unstable();
    kept.truncate(count);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_are_those_that_sorting_finds(
            all in proptest::collection::vec(any::<u8>(), 0..60),
            count in 1usize..20,
        ) {
            let mut sorted = all.clone();
            sorted.sort_unstable();
            sorted.truncate(count);
            prop_assert_eq!(first(all.into_iter(), count), sorted);
        }
    }
}
