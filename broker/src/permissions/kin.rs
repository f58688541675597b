//! Which things are behind which gateway, for the permissions of a namespace.
//!
//! A gateway speaks for the things behind it, and for those behind them. The registry of things keeps this table up to
//! date, so that no message has to look into the store; whoever is connected follows ([`crate::Broker::set_parents`]).

use hashbrown::HashMap;
use parking_lot::RwLock;
use proto::ThingId;

/// How far a thing may be behind a gateway: as many steps lead up at most.
pub const GENERATIONS_MAX: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Kin {
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    parents: HashMap<ThingId, ThingId>,
    /// How many things are right behind each gateway.
    counts: HashMap<ThingId, usize>,
}

/// Two are the same only if they are one.
impl PartialEq for Kin {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Kin {}

impl Kin {
    /// Whether `thing` is behind `gateway`.
    pub(crate) fn is_behind(&self, thing: &ThingId, gateway: &ThingId) -> bool {
        self.table.read().above(thing).any(|it| it == gateway)
    }

    /// Whether anything is behind `thing`.
    pub(crate) fn is_gateway(&self, thing: &ThingId) -> bool {
        self.table.read().counts.contains_key(thing)
    }

    /// Puts a thing behind another, or behind none. The gateways that speak for others than before.
    pub(crate) fn set(&self, thing: ThingId, parent: Option<ThingId>) -> Vec<ThingId> {
        let mut table = self.table.write();
        if table.parents.get(&thing) == parent.as_ref() {
            return Vec::new();
        }
        let mut changed: Vec<ThingId> = table.above(&thing).cloned().collect();
        if let Some(before) = table.parents.remove(&thing) {
            table.leave(&before);
        }
        if let Some(parent) = parent {
            *table.counts.entry(parent.clone()).or_default() += 1;
            table.parents.insert(thing.clone(), parent);
        }
        changed.extend(table.above(&thing).cloned());
        changed
    }
}

impl Table {
    /// The gateways of a thing, the nearest first; a circle, which the registry lets nobody make, ends, too.
    fn above<'a>(&'a self, thing: &ThingId) -> impl Iterator<Item = &'a ThingId> {
        std::iter::successors(self.parents.get(thing), |it| self.parents.get(*it))
            .take(GENERATIONS_MAX)
    }

    fn leave(&mut self, parent: &ThingId) {
        if let Some(count) = self.counts.get_mut(parent) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(parent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thing(text: &str) -> ThingId {
        ThingId::parse(text).unwrap()
    }

    #[test]
    fn whoever_is_moved_counts_for_the_gateways_of_before_and_after() {
        let kin = Kin::default();
        assert_eq!(kin.set(thing("line"), Some(thing("hall"))), [thing("hall")]);
        let above = kin.set(thing("pump"), Some(thing("line")));
        assert_eq!(above, [thing("line"), thing("hall")]);
        assert!(kin.is_behind(&thing("pump"), &thing("hall")));
        assert!(!kin.is_behind(&thing("hall"), &thing("pump")));
        assert!(kin.set(thing("pump"), Some(thing("line"))).is_empty(), "nothing has changed");
        let both = kin.set(thing("pump"), Some(thing("other")));
        assert_eq!(both, [thing("line"), thing("hall"), thing("other")]);
        assert!(!kin.is_gateway(&thing("line")));
        assert_eq!(kin.set(thing("pump"), None), [thing("other")]);
        assert!(!kin.is_behind(&thing("pump"), &thing("other")));
    }

    #[test]
    fn neither_a_long_line_nor_a_circle_is_followed_without_end() {
        let kin = Kin::default();
        for number in 0..=GENERATIONS_MAX {
            kin.set(thing(&format!("t{number}")), Some(thing(&format!("t{}", number + 1))));
        }
        assert!(kin.is_behind(&thing("t0"), &thing(&format!("t{GENERATIONS_MAX}"))));
        assert!(!kin.is_behind(&thing("t0"), &thing(&format!("t{}", GENERATIONS_MAX + 1))));
        kin.set(thing("a"), Some(thing("b")));
        kin.set(thing("b"), Some(thing("a")));
        assert!(!kin.is_behind(&thing("a"), &thing("c")));
    }
}
