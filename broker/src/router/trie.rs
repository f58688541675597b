//! A trie over the levels of topic filters, with values at its nodes.
//!
//! Recursion is as deep as the deepest filter stored, so whoever inserts must bound the levels of a filter.

use hashbrown::HashMap;
use proto::{TopicFilter, TopicName};

/// Values by topic filter; several may stand under one filter.
#[derive(Debug)]
pub(crate) struct Trie<V> {
    root: Node<V>,
    len: usize,
}

#[derive(Debug)]
struct Node<V> {
    children: HashMap<String, Node<V>>,
    /// The subtree below the level `+`.
    plus: Option<Box<Node<V>>>,
    /// Values of filters that end here.
    values: Vec<V>,
    /// Values of filters that end with `#` below here.
    hash_values: Vec<V>,
}

impl<V> Default for Trie<V> {
    fn default() -> Self {
        Self { root: Node::default(), len: 0 }
    }
}

impl<V> Default for Node<V> {
    fn default() -> Self {
        Self { children: HashMap::new(), plus: None, values: Vec::new(), hash_values: Vec::new() }
    }
}

impl<V> Trie<V> {
    /// The number of values.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Puts a value under a filter, in place of the one for which `is_same` holds, which is returned.
    pub(crate) fn insert(
        &mut self,
        filter: &TopicFilter,
        value: V,
        is_same: impl Fn(&V) -> bool,
    ) -> Option<V> {
        let values = self.root.values_mut(filter.levels());
        if let Some(old) = values.iter_mut().find(|it| is_same(it)) {
            return Some(std::mem::replace(old, value));
        }
        values.push(value);
        self.len += 1;
        None
    }

    /// Takes the value for which `is_same` holds from under a filter, and empty nodes with it.
    pub(crate) fn remove(
        &mut self,
        filter: &TopicFilter,
        is_same: impl Fn(&V) -> bool,
    ) -> Option<V> {
        let levels: Vec<&str> = filter.levels().collect();
        let removed = self.root.remove(&levels, &is_same);
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// Calls `see` with every value whose filter matches `topic`, in no particular order.
    pub(crate) fn visit<'a>(&'a self, topic: &TopicName, mut see: impl FnMut(&'a V)) {
        let levels: Vec<&str> = topic.levels().collect();
        if !topic.is_system() {
            return self.root.visit(&levels, &mut see);
        }
        // Filters that start with a wildcard do not match `$` topics (MQTT 5.0 4.7.2).
        if let Some((first, rest)) = levels.split_first()
            && let Some(child) = self.root.children.get(*first)
        {
            child.visit(rest, &mut see);
        }
    }
}

impl<V> Node<V> {
    /// The values under a filter; nodes on the way are made.
    fn values_mut<'a>(&mut self, mut levels: impl Iterator<Item = &'a str>) -> &mut Vec<V> {
        match levels.next() {
            None => &mut self.values,
            Some("#") => &mut self.hash_values,
            Some("+") => self.plus.get_or_insert_default().values_mut(levels),
            Some(level) => self.children.entry_ref(level).or_default().values_mut(levels),
        }
    }

    fn visit<'a>(&'a self, levels: &[&str], see: &mut impl FnMut(&'a V)) {
        // `#` also stands for its parent level (MQTT 5.0 4.7.1.2).
        self.hash_values.iter().for_each(&mut *see);
        let Some((first, rest)) = levels.split_first() else {
            self.values.iter().for_each(see);
            return;
        };
        if let Some(child) = self.children.get(*first) {
            child.visit(rest, see);
        }
        if let Some(child) = &self.plus {
            child.visit(rest, see);
        }
    }

    fn remove(&mut self, levels: &[&str], is_same: &impl Fn(&V) -> bool) -> Option<V> {
        match levels {
            [] => take(&mut self.values, is_same),
            ["#"] => take(&mut self.hash_values, is_same),
            ["+", rest @ ..] => {
                let child = self.plus.as_mut()?;
                let removed = child.remove(rest, is_same);
                if child.is_empty() {
                    self.plus = None;
                }
                removed
            }
            [level, rest @ ..] => {
                let child = self.children.get_mut(*level)?;
                let removed = child.remove(rest, is_same);
                if child.is_empty() {
                    self.children.remove(*level);
                }
                removed
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.values.is_empty()
            && self.hash_values.is_empty()
            && self.plus.is_none()
            && self.children.is_empty()
    }
}

fn take<V>(values: &mut Vec<V>, is_same: impl Fn(&V) -> bool) -> Option<V> {
    let index = values.iter().position(is_same)?;
    Some(values.swap_remove(index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text.to_owned()).unwrap()
    }

    #[test]
    fn a_value_is_replaced_by_its_like() {
        let mut trie = Trie::default();
        assert_eq!(trie.insert(&filter("a/+"), (1, 'x'), |it| it.0 == 1), None);
        assert_eq!(trie.insert(&filter("a/+"), (1, 'y'), |it| it.0 == 1), Some((1, 'x')));
        assert_eq!(trie.len(), 1);
    }

    #[test]
    fn removing_leaves_no_node_behind() {
        let mut trie = Trie::default();
        for text in ["a/b/c", "a/+/#", "#", "+", "/"] {
            trie.insert(&filter(text), 1, |_| true);
        }
        for text in ["a/b/c", "a/+/#", "#", "+", "/"] {
            assert_eq!(trie.remove(&filter(text), |_| true), Some(1), "{text}");
            assert_eq!(trie.remove(&filter(text), |_| true), None, "{text}");
        }
        assert!(trie.root.is_empty());
        assert_eq!(trie.len(), 0);
    }

    proptest! {
        #[test]
        fn it_matches_what_the_filters_match(
            filters in proptest::collection::btree_set("([ab+]?/){0,3}([ab+#]|\\$x)?", 0..30),
            removed in any::<u32>(),
            topic in "(\\$x/)?([ab]?/){0,4}[ab]",
        ) {
            let filters: Vec<TopicFilter> =
                filters.into_iter().filter_map(|text| TopicFilter::parse(text).ok()).collect();
            let mut trie = Trie::default();
            for (index, filter) in filters.iter().enumerate() {
                trie.insert(filter, index, |it| *it == index);
            }
            let is_removed = |index: usize| removed >> (index % 32) & 1 == 1;
            for (index, filter) in filters.iter().enumerate().filter(|it| is_removed(it.0)) {
                prop_assert_eq!(trie.remove(filter, |it| *it == index), Some(index));
            }
            let topic = TopicName::parse(topic).unwrap();
            let mut seen = BTreeSet::new();
            trie.visit(&topic, |index| assert!(seen.insert(*index)));
            let expected: BTreeSet<usize> = filters
                .iter()
                .enumerate()
                .filter(|(index, filter)| !is_removed(*index) && filter.matches(&topic))
                .map(|(index, _)| index)
                .collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
