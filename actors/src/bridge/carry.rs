//! What was retained before a bridge came: each out rule that passes the RETAIN flag carries it once. Which rules
//! have yet to, and how far they are, as plain state; a row says it across restarts.

use super::config::{BridgeConfig, Rule};
use super::row::{CarriedRow, CarriedWay};
use broker::RetainedWalk;
use proto::TopicFilter;
use std::collections::VecDeque;

/// See the module.
#[derive(Debug)]
pub(super) struct Carrier {
    /// As it is on disk.
    row: CarriedRow,
    todo: VecDeque<Todo>,
    /// Over what the first of `todo` has.
    walk: Option<RetainedWalk>,
    is_committing: bool,
}

/// A rule that has yet to carry what is retained.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Todo {
    way: CarriedWay,
    local: TopicFilter,
    /// Its number among the rules.
    rule: usize,
}

impl Carrier {
    /// What a configuration has yet to carry. Another address is taken for another broker.
    pub(super) fn new(config: &BridgeConfig, known: Option<CarriedRow>) -> Self {
        let url = config.remote.url.clone();
        let known = known.filter(|row| row.url == url);
        let mut row = known.unwrap_or_else(|| CarriedRow { url, ..CarriedRow::default() });
        let rules = config.rules.iter().enumerate();
        let mut todo: VecDeque<Todo> = rules.filter_map(|(rule, it)| Todo::of(rule, it)).collect();
        // A rule that goes and comes back carries again.
        row.done.retain(|way| todo.iter().any(|it| it.way == *way));
        todo.retain(|it| !row.done.contains(&it.way));
        let under_way = row.under_way.as_ref().map(|(way, _)| way);
        match todo.iter().position(|it| Some(&it.way) == under_way) {
            Some(at) => todo.swap(0, at),
            None => row.under_way = None,
        }
        Self { row, todo, walk: None, is_committing: false }
    }

    /// Whether there is something to look at now.
    pub(super) fn is_due(&self) -> bool {
        !self.todo.is_empty() && !self.is_committing
    }

    /// The rule whose turn it is, and its walk.
    pub(super) fn walk(&mut self) -> Option<(usize, &mut RetainedWalk)> {
        let Todo { local, rule, .. } = self.todo.front()?;
        let after = || self.row.under_way.as_ref().map(|(_, topic)| topic.clone());
        let new = || RetainedWalk::new(local.clone(), after());
        Some((*rule, self.walk.get_or_insert_with(new)))
    }

    /// The row after the page that has been taken, to be committed with it.
    pub(super) fn taken(&mut self) -> CarriedRow {
        self.is_committing = true;
        let mut row = self.row.clone();
        let (Some(walk), Some(Todo { way, .. })) = (&self.walk, self.todo.front()) else {
            return row;
        };
        row.under_way = match walk.seen_to() {
            Some(topic) if !walk.is_over() => Some((way.clone(), topic.clone())),
            _ => None,
        };
        if walk.is_over() {
            row.done.push(way.clone());
        }
        row
    }

    /// The commit of a page and its row has ended; one that failed is taken again.
    pub(super) fn settle(&mut self, row: CarriedRow, is_committed: bool) {
        self.is_committing = false;
        if !is_committed {
            self.walk = None;
            return;
        }
        if row.done.len() > self.row.done.len() {
            self.todo.pop_front();
            self.walk = None;
        }
        self.row = row;
    }
}

impl Todo {
    fn of(rule: usize, it: &Rule) -> Option<Self> {
        let local = it.local_filter().ok().filter(|_| it.goes_out() && it.retain)?;
        let way = CarriedWay {
            local_prefix: it.local_prefix.clone(),
            filter: it.filter.clone(),
            remote_prefix: it.remote_prefix.clone(),
        };
        Some(Self { way, local, rule })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::config::{Direction, QueueConfig};
    use drivers::bridge::RemoteConfig;
    use proto::TopicName;

    fn config(filters: &[&str]) -> BridgeConfig {
        let rule = |filter: &&str| Rule {
            direction: Direction::Out,
            filter: (*filter).to_owned(),
            local_prefix: String::new(),
            remote_prefix: String::new(),
            qos: 1,
            retain: *filter != "plain/#",
        };
        let remote = RemoteConfig::new("mqtt://hub", "b");
        let rules = filters.iter().map(rule).collect();
        BridgeConfig { remote, rules, queue: QueueConfig::default(), hops_max: 8 }
    }

    fn turn(carrier: &mut Carrier) -> Option<usize> {
        carrier.walk().map(|(rule, _)| rule)
    }

    fn row(done: &[&str], under_way: Option<(&str, &str)>) -> CarriedRow {
        let way = |filter: &str| CarriedWay {
            local_prefix: String::new(),
            filter: filter.to_owned(),
            remote_prefix: String::new(),
        };
        CarriedRow {
            url: "mqtt://hub".to_owned(),
            done: done.iter().map(|it| way(it)).collect(),
            under_way: under_way
                .map(|(filter, topic)| (way(filter), TopicName::parse(topic.to_owned()).unwrap())),
        }
    }

    #[test]
    fn each_rule_has_one_turn_and_the_row_remembers_it() {
        let mut carrier = Carrier::new(&config(&["plain/#", "a/#", "b/#"]), None);
        assert_eq!(turn(&mut carrier), Some(1));
        let mut other = Carrier::new(&config(&["a/#", "b/#"]), Some(row(&["b/#"], None)));
        assert_eq!(turn(&mut other), Some(0));
        let half = row(&[], Some(("b/#", "b/x")));
        let mut other = Carrier::new(&config(&["a/#", "b/#"]), Some(half));
        assert_eq!(turn(&mut other), Some(1), "where it was");
        assert_eq!(other.walk().and_then(|(_, it)| it.seen_to()).unwrap().as_str(), "b/x");
        let done = row(&["a/#", "b/#"], None);
        assert!(!Carrier::new(&config(&["b/#", "a/#"]), Some(done.clone())).is_due());
        // Another broker has nothing of it.
        let moved = CarriedRow { url: "mqtt://other".to_owned(), ..done };
        assert!(Carrier::new(&config(&["a/#"]), Some(moved)).is_due());
    }

    #[test]
    fn a_rule_that_is_taken_away_is_forgotten() {
        let carrier = Carrier::new(&config(&["a/#"]), Some(row(&["a/#", "b/#"], None)));
        assert_eq!(carrier.row, row(&["a/#"], None));
        let half = row(&["a/#"], Some(("b/#", "b/x")));
        assert_eq!(Carrier::new(&config(&["a/#"]), Some(half)).row, row(&["a/#"], None));
    }

    #[test]
    fn a_page_whose_commit_failed_is_taken_again() {
        let mut carrier = Carrier::new(&config(&["a/#"]), Some(row(&[], Some(("a/#", "a/m")))));
        assert_eq!(turn(&mut carrier), Some(0));
        let after = carrier.taken();
        assert!(!carrier.is_due(), "one page at a time");
        carrier.settle(after, false);
        assert!(carrier.is_due());
        assert_eq!(carrier.walk().and_then(|(_, it)| it.seen_to()).unwrap().as_str(), "a/m");
        let after = row(&["a/#"], None);
        carrier.settle(after, true);
        assert!(!carrier.is_due() && turn(&mut carrier).is_none());
    }
}
