//! The subscriptions of one namespace by topic filter, made for millions.
//!
//! Levels are numbers ([`levels`](super::levels)), nodes lie in one vector, and one hash table holds every edge to a
//! level that is no wildcard: a filter costs a few dozen bytes beyond its value. Nothing recurses, and a match looks
//! at no more nodes than the filters that match a beginning of the topic have.

use super::levels::{HASH, LevelId, Levels, PLUS};
use super::members::{Member, Members};
use hashbrown::HashMap;
use proto::{TopicFilter, TopicName};

/// The number of a node.
type NodeId = u32;

const ROOT: NodeId = 0;

/// No node: the root is nobody's child.
const NONE: NodeId = ROOT;

/// Values by topic filter; several may stand under one filter.
#[derive(Debug)]
pub(crate) struct Trie<V> {
    nodes: Vec<Node<V>>,
    /// Places in `nodes` that are free.
    free: Vec<NodeId>,
    /// Children by parent and level, wildcards apart.
    edges: HashMap<(NodeId, LevelId), NodeId>,
    levels: Levels,
    len: usize,
}

#[derive(Debug)]
struct Node<V> {
    parent: NodeId,
    level: LevelId,
    /// The child at the level `+`.
    plus: NodeId,
    /// The child at the level `#`.
    hash: NodeId,
    /// How many other children there are.
    edges: u32,
    /// Values of the filters that end here.
    members: Members<V>,
}

impl<V> Node<V> {
    fn new(parent: NodeId, level: LevelId) -> Self {
        Self { parent, level, plus: NONE, hash: NONE, edges: 0, members: Members::None }
    }
}

impl<V: Member> Node<V> {
    fn is_empty(&self) -> bool {
        self.members.is_empty() && self.plus == NONE && self.hash == NONE && self.edges == 0
    }
}

impl<V> Default for Trie<V> {
    fn default() -> Self {
        Self {
            nodes: vec![Node::new(NONE, HASH)],
            free: Vec::new(),
            edges: HashMap::new(),
            levels: Levels::default(),
            len: 0,
        }
    }
}

impl<V: Member> Trie<V> {
    /// The number of values.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Puts a value under a filter, in place of its owner's, which is returned.
    pub(crate) fn insert(&mut self, filter: &TopicFilter, value: V) -> Option<V> {
        let mut at = ROOT;
        for level in filter.levels() {
            at = match self.levels.find(level).and_then(|level| self.child(at, level)) {
                Some(child) => child,
                None => self.grow(at, level),
            };
        }
        let old = self.node_mut(at).members.put(value);
        self.len += usize::from(old.is_none());
        old
    }

    /// Takes the value of `owner` from under a filter, and empty nodes with it.
    pub(crate) fn remove(&mut self, filter: &TopicFilter, owner: u64) -> Option<V> {
        let mut at = ROOT;
        for level in filter.levels() {
            at = self.child(at, self.levels.find(level)?)?;
        }
        let removed = self.node_mut(at).members.take(owner)?;
        self.len -= 1;
        while at != ROOT && self.node(at).is_empty() {
            at = self.prune(at);
        }
        Some(removed)
    }

    /// The values under a filter.
    pub(crate) fn under(&self, filter: &TopicFilter) -> &[V] {
        let mut at = ROOT;
        for level in filter.levels() {
            let child = self.levels.find(level).and_then(|level| self.child(at, level));
            let Some(child) = child else { return &[] };
            at = child;
        }
        self.node(at).members.as_slice()
    }

    /// Calls `see` with every value whose filter matches `topic`, in no particular order. Answers how many nodes it
    /// has looked at.
    pub(crate) fn visit<'a>(&'a self, topic: &TopicName, mut see: impl FnMut(&'a V)) -> usize {
        let levels: Vec<Option<LevelId>> =
            topic.levels().map(|level| self.levels.find_literal(level)).collect();
        let mut steps = 0;
        let mut open = vec![(ROOT, 0)];
        while let Some((at, depth)) = open.pop() {
            steps += 1;
            let node = self.node(at);
            // Filters that start with a wildcard do not match `$` topics (MQTT 5.0 4.7.2).
            let has_wildcards = depth > 0 || !topic.is_system();
            // `#` also stands for its parent level (MQTT 5.0 4.7.1.2).
            if node.hash != NONE && has_wildcards {
                self.node(node.hash).members.as_slice().iter().for_each(&mut see);
            }
            let Some(level) = levels.get(depth) else {
                node.members.as_slice().iter().for_each(&mut see);
                continue;
            };
            if node.plus != NONE && has_wildcards {
                open.push((node.plus, depth + 1));
            }
            if node.edges > 0
                && let Some(level) = level
                && let Some(child) = self.edges.get(&(at, *level))
            {
                open.push((*child, depth + 1));
            }
        }
        steps
    }

    fn node(&self, id: NodeId) -> &Node<V> {
        &self.nodes[id as usize]
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node<V> {
        &mut self.nodes[id as usize]
    }

    fn child(&self, parent: NodeId, level: LevelId) -> Option<NodeId> {
        let child = match level {
            PLUS => self.node(parent).plus,
            HASH => self.node(parent).hash,
            level => return self.edges.get(&(parent, level)).copied(),
        };
        (child != NONE).then_some(child)
    }

    /// Makes the child of a node at a level.
    fn grow(&mut self, parent: NodeId, level: &str) -> NodeId {
        let level = self.levels.take(level);
        let node = Node::new(parent, level);
        let child = match self.free.pop() {
            Some(id) => {
                *self.node_mut(id) = node;
                id
            }
            None => {
                self.nodes.push(node);
                // As many nodes as this take more memory than there is.
                NodeId::try_from(self.nodes.len() - 1).unwrap_or(NodeId::MAX)
            }
        };
        match level {
            PLUS => self.node_mut(parent).plus = child,
            HASH => self.node_mut(parent).hash = child,
            level => {
                self.edges.insert((parent, level), child);
                self.node_mut(parent).edges += 1;
            }
        }
        child
    }

    /// Cuts off an empty node; answers its parent.
    fn prune(&mut self, id: NodeId) -> NodeId {
        let (parent, level) = (self.node(id).parent, self.node(id).level);
        match level {
            PLUS => self.node_mut(parent).plus = NONE,
            HASH => self.node_mut(parent).hash = NONE,
            level => {
                self.edges.remove(&(parent, level));
                self.node_mut(parent).edges -= 1;
            }
        }
        self.levels.release(level);
        self.free.push(id);
        parent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    impl Member for usize {
        fn owner(&self) -> u64 {
            *self as u64
        }
    }

    impl Member for (i32, char) {
        fn owner(&self) -> u64 {
            self.0 as u64
        }
    }

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text.to_owned()).unwrap()
    }

    #[test]
    fn a_value_is_replaced_by_its_like() {
        let mut trie = Trie::default();
        assert_eq!(trie.insert(&filter("a/+"), (1, 'x')), None);
        assert_eq!(trie.insert(&filter("a/+"), (1, 'y')), Some((1, 'x')));
        assert_eq!(trie.len(), 1);
        assert_eq!(trie.under(&filter("a/+")), [(1, 'y')]);
        assert_eq!(trie.under(&filter("a")), []);
        assert_eq!(trie.under(&filter("a/b")), []);
    }

    #[test]
    fn removing_leaves_nothing_behind() {
        let mut trie = Trie::default();
        let texts = ["a/b/c", "a/+/#", "#", "+", "/"];
        for round in 0..3 {
            for text in texts {
                trie.insert(&filter(text), 1);
            }
            for text in texts {
                assert_eq!(trie.remove(&filter(text), 1), Some(1_usize), "{text}");
                assert_eq!(trie.remove(&filter(text), 1), None, "{text}");
            }
            assert!(trie.node(ROOT).is_empty() && trie.edges.is_empty(), "round {round}");
            assert_eq!((trie.len(), trie.levels.len()), (0, 0));
            assert_eq!(trie.nodes.len(), trie.free.len() + 1);
        }
        assert_eq!(trie.nodes.len(), 10);
    }

    #[test]
    fn a_bomb_of_wildcards_costs_no_more_than_its_own_nodes() {
        let mut trie = Trie::default();
        for bits in 0..1000_usize {
            let level = |at: usize| if bits >> (at % 10) & 1 == 1 { "+" } else { "a" };
            let text: Vec<&str> = (0..120).map(level).collect();
            trie.insert(&filter(&text.join("/")), bits);
        }
        let topic = |levels: usize| TopicName::parse(vec!["a"; levels].join("/")).unwrap();
        let mut seen = 0;
        let steps = trie.visit(&topic(120), |_| seen += 1);
        assert_eq!(seen, 1000);
        assert!(steps <= trie.nodes.len());
        assert_eq!(trie.visit(&topic(5), |_| panic!("no filter is so short")), 63);
        assert_eq!(trie.visit(&TopicName::parse("b/b/b").unwrap(), |_| seen += 1), 4);
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
                trie.insert(filter, index);
            }
            let is_removed = |index: usize| removed >> (index % 32) & 1 == 1;
            for (index, filter) in filters.iter().enumerate().filter(|it| is_removed(it.0)) {
                prop_assert_eq!(trie.remove(filter, index as u64), Some(index));
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
