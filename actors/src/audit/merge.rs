//! Gathering, pure: entries of one moment, those alike merged into one, a flood of different ones into one of all.

use super::entry::{By, Entry};
use proto::{Namespace, TimestampMs};
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};

/// Different entries of one moment and namespace; what comes beyond is told as one.
pub(crate) const DIFFERENT_MAX: usize = 100;

/// Namespaces of one moment.
const NAMESPACES_MAX: usize = 10_000;

/// The name of whoever is told of only as one of many.
pub(crate) const VARIOUS: &str = "$various";

/// So many in a second.
#[derive(Debug)]
pub(crate) struct Rate {
    per_sec: u32,
    second: u64,
    used: u32,
}

impl Rate {
    /// See the type.
    pub(crate) fn new(per_sec: u32) -> Self {
        Self { per_sec, second: 0, used: 0 }
    }

    /// Takes one; `false` if there is none left.
    pub(crate) fn take(&mut self, now: TimestampMs) -> bool {
        let second = now.0 / 1000;
        if second != self.second {
            (self.second, self.used) = (second, 0);
        }
        self.used = self.used.saturating_add(1);
        self.used <= self.per_sec
    }
}

/// What has come in one moment.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    namespaces: BTreeMap<Namespace, Moment>,
    likeness: RandomState,
    /// Entries that stand for more than one.
    pub(crate) merged: u64,
}

/// What has come in one moment in a namespace.
#[derive(Debug, Default)]
struct Moment {
    /// In the order of coming; those of various people are the last.
    entries: Vec<Entry>,
    /// Where the first entry of a likeness is.
    alike: HashMap<u64, usize>,
}

impl Gathered {
    /// Whether nothing has come.
    pub(crate) fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
    }

    /// Adds one; `false` if there is no room even for its count.
    pub(crate) fn add(&mut self, entry: Entry) -> bool {
        if !self.namespaces.contains_key(&entry.namespace) {
            if self.namespaces.len() >= NAMESPACES_MAX {
                return false;
            }
            self.namespaces.insert(entry.namespace.clone(), Moment::default());
        }
        let Some(moment) = self.namespaces.get_mut(&entry.namespace) else { return false };
        let (likeness, count) = (likeness(&self.likeness, &entry), entry.count);
        if moment.add(entry, likeness) {
            self.merged += count;
        }
        true
    }

    /// Takes all of it, in the order of coming within each namespace.
    pub(crate) fn take(&mut self) -> Vec<Entry> {
        let moments = std::mem::take(&mut self.namespaces).into_values();
        moments.flat_map(|moment| moment.entries).collect()
    }
}

impl Moment {
    /// Adds one; `true` if it was merged with another.
    fn add(&mut self, entry: Entry, likeness: u64) -> bool {
        let alike = self.alike.get(&likeness).and_then(|index| self.entries.get_mut(*index));
        // Two that differ may have one likeness by chance: then the later one is not merged.
        if let Some(alike) = alike.filter(|it| is_alike(it, &entry)) {
            alike.count += entry.count;
            return true;
        }
        if self.entries.len() < DIFFERENT_MAX {
            self.alike.insert(likeness, self.entries.len());
            self.entries.push(entry);
            return false;
        }
        let is_same = |it: &&mut Entry| {
            it.by.name == VARIOUS && it.action == entry.action && it.outcome == entry.outcome
        };
        match self.entries.iter_mut().skip(DIFFERENT_MAX).find(is_same) {
            Some(various) => various.count += entry.count,
            // Actions and outcomes are words of the platform's own: there are few.
            None => self.entries.push(various(entry)),
        }
        true
    }
}

/// A number that entries alike have in common.
fn likeness(state: &RandomState, entry: &Entry) -> u64 {
    let mut hasher = state.build_hasher();
    (&entry.by.name, &entry.action, &entry.outcome).hash(&mut hasher);
    (&entry.client_id, &entry.digest, host(entry)).hash(&mut hasher);
    hasher.finish()
}

/// Whether they differ in nothing but their time, the port of an address, and what is of one request only.
fn is_alike(one: &Entry, other: &Entry) -> bool {
    one.by == other.by
        && one.action == other.action
        && one.outcome == other.outcome
        && one.target == other.target
        && one.client_id == other.client_id
        && one.digest == other.digest
        && host(one) == host(other)
}

fn host(entry: &Entry) -> Option<&str> {
    let address = entry.address.as_deref()?;
    Some(address.rsplit_once(':').map_or(address, |(host, _)| host))
}

fn various(entry: Entry) -> Entry {
    let Entry { t, namespace, action, outcome, count, .. } = entry;
    Entry { outcome, count, ..Entry::new(t, namespace, By::claimed(VARIOUS), action) }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn login(name: &str, address: &str) -> Entry {
        let mut entry =
            Entry::new(TimestampMs(1), Namespace::default(), By::claimed(name), "login");
        entry.address = Some(address.to_owned());
        entry.with_outcome("wrong_secret")
    }

    #[test]
    fn those_alike_are_one_whatever_their_port() {
        let mut gathered = Gathered::default();
        for port in 0..500 {
            assert!(gathered.add(login("a", &format!("10.0.0.1:{port}"))));
        }
        gathered.add(login("a", "10.0.0.2:1"));
        gathered.add(login("b", "10.0.0.1:1"));
        let counts: Vec<_> =
            gathered.take().iter().map(|it| (it.by.name.clone(), it.count)).collect();
        assert_eq!(counts, [("a".into(), 500), ("a".into(), 1), ("b".into(), 1)]);
        assert!(gathered.is_empty());
    }

    #[test]
    fn a_flood_of_different_ones_is_bounded_and_none_is_lost() {
        let mut gathered = Gathered::default();
        for number in 0..5000 {
            gathered.add(login(&format!("user{number}"), "10.0.0.1:1"));
        }
        let entries = gathered.take();
        assert_eq!(entries.len(), DIFFERENT_MAX + 1);
        assert_eq!(entries.iter().map(|it| it.count).sum::<u64>(), 5000);
        let last = entries.last().unwrap();
        assert_eq!((last.by.name.as_str(), last.address.as_deref()), (VARIOUS, None));
    }
}
