//! The values under one filter: usually one, sometimes as many as there are clients.

use hashbrown::HashTable;

/// Up to so many values are searched one by one.
const SEARCHED_MAX: usize = 16;

/// What stands under a filter.
pub(crate) trait Member {
    /// Whose it is; nobody has two under one filter.
    fn owner(&self) -> u64;
}

/// Values of different owners.
#[derive(Debug)]
pub(super) enum Members<V> {
    None,
    One(Box<V>),
    Many(Box<Many<V>>),
}

#[derive(Debug)]
pub(super) struct Many<V> {
    values: Vec<V>,
    /// Where each value stands, by its owner; empty while there are few.
    places: HashTable<u32>,
}

impl<V: Member> Members<V> {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    pub(super) fn as_slice(&self) -> &[V] {
        match self {
            Self::None => &[],
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(many) => &many.values,
        }
    }

    /// Puts a value in, in place of its owner's, which is returned.
    pub(super) fn put(&mut self, value: V) -> Option<V> {
        match self {
            Self::None => *self = Self::One(Box::new(value)),
            Self::One(old) if old.owner() == value.owner() => {
                return Some(std::mem::replace(old, value));
            }
            Self::One(_) => {
                if let Self::One(first) = std::mem::replace(self, Self::None) {
                    let values = vec![*first, value];
                    *self = Self::Many(Box::new(Many { values, places: HashTable::new() }));
                }
            }
            Self::Many(many) => match many.find(value.owner()) {
                Some(place) => return Some(std::mem::replace(&mut many.values[place], value)),
                None => many.push(value),
            },
        }
        None
    }

    /// Takes out the value of `owner`.
    pub(super) fn take(&mut self, owner: u64) -> Option<V> {
        match self {
            Self::None => None,
            Self::One(value) if value.owner() != owner => None,
            Self::One(_) => match std::mem::replace(self, Self::None) {
                Self::One(value) => Some(*value),
                _ => None,
            },
            Self::Many(many) => {
                let taken = many.find(owner).map(|place| many.remove(place));
                if many.values.is_empty() {
                    *self = Self::None;
                }
                taken
            }
        }
    }
}

impl<V: Member> Many<V> {
    fn find(&self, owner: u64) -> Option<usize> {
        if self.places.is_empty() {
            return self.values.iter().position(|value| value.owner() == owner);
        }
        let is_it = |place: &u32| self.values[*place as usize].owner() == owner;
        let found = self.places.find(hash(owner), is_it);
        found.map(|place| *place as usize)
    }

    fn push(&mut self, value: V) {
        self.values.push(value);
        if self.places.is_empty() && self.values.len() <= SEARCHED_MAX {
            return;
        }
        // All of them when the list has just become long, else the new one.
        let values = &self.values;
        let first = if self.places.is_empty() { 0 } else { values.len() - 1 };
        for place in first..values.len() {
            let hash_of = |place: &u32| hash(values[*place as usize].owner());
            // More values than this take more memory than there is.
            let place = u32::try_from(place).unwrap_or(u32::MAX);
            self.places.insert_unique(hash_of(&place), place, hash_of);
        }
    }

    fn remove(&mut self, place: usize) -> V {
        let last = self.values.len() - 1;
        if !self.places.is_empty() {
            self.forget(place);
            if last != place
                && let Some(moved) =
                    self.places.find_mut(hash(self.values[last].owner()), |it| *it as usize == last)
            {
                *moved = u32::try_from(place).unwrap_or(u32::MAX);
            }
        }
        self.values.swap_remove(place)
    }

    fn forget(&mut self, place: usize) {
        let owner = self.values[place].owner();
        if let Ok(entry) = self.places.find_entry(hash(owner), |it| *it as usize == place) {
            entry.remove();
        }
    }
}

/// Owners are counted up, so their lower bits differ already; the upper ones are for the table's tags.
fn hash(owner: u64) -> u64 {
    owner.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Value = (u64, u8);

    impl Member for Value {
        fn owner(&self) -> u64 {
            self.0
        }
    }

    proptest! {
        #[test]
        fn they_are_a_map_by_owner(
            steps in proptest::collection::vec((any::<bool>(), 0u64..60, any::<u8>()), 0..400),
        ) {
            let mut members = Members::None;
            let mut model = BTreeMap::new();
            for (is_put, owner, value) in steps {
                if is_put {
                    let old = members.put((owner, value));
                    prop_assert_eq!(old, model.insert(owner, value).map(|it| (owner, it)));
                } else {
                    let old = members.take(owner);
                    prop_assert_eq!(old, model.remove(&owner).map(|it| (owner, it)));
                }
                prop_assert_eq!(members.is_empty(), model.is_empty());
            }
            let mut all = members.as_slice().to_vec();
            all.sort_unstable();
            prop_assert_eq!(all, model.into_iter().collect::<Vec<_>>());
        }
    }
}
