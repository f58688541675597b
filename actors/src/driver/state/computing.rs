//! Virtual tags of a running driver: computed anew when one of those that they stand upon has been heard of.
//!
//! A value that is computed is as good as the worst of those that were used for it, and as new as the newest. One that
//! cannot be computed, since an input has no good value, turns stale with it or bad, and keeps its datum.

use super::DriverState;
use crate::driver::command::Now;
use crate::driver::tag::Tag;
use drivers::{PointId, Sample, VirtualTag};
use proto::expression::Names;
use proto::{Datum, Quality, TimestampMs};
use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};

/// See the module.
#[derive(Default)]
pub(super) struct Computing {
    /// Each after those that it needs.
    all: Vec<VirtualTag>,
    /// Which of them stand upon a point.
    uses: HashMap<PointId, Vec<usize>>,
    /// Those to be computed anew.
    due: BTreeSet<usize>,
}

impl Computing {
    fn new(all: Vec<VirtualTag>) -> Self {
        let mut uses: HashMap<PointId, Vec<usize>> = HashMap::new();
        for (index, tag) in all.iter().enumerate() {
            for input in &tag.inputs {
                uses.entry(*input).or_default().push(index);
            }
        }
        // What needs nothing is computed once.
        let is_constant = |(_, tag): &(usize, &VirtualTag)| tag.inputs.is_empty();
        let due = all.iter().enumerate().filter(is_constant).map(|(index, _)| index).collect();
        Self { all, uses, due }
    }

    /// A point has been heard of.
    pub(super) fn heard(&mut self, point: PointId) {
        // Most drivers have none.
        if !self.all.is_empty()
            && let Some(users) = self.uses.get(&point)
        {
            self.due.extend(users);
        }
    }
}

/// The inputs of a virtual tag, and what was found when they were looked at.
struct Inputs<'a> {
    tags: &'a [Tag],
    points: &'a [PointId],
    is_uncertain: Cell<bool>,
    newest: Cell<Option<TimestampMs>>,
    /// One that has no value now.
    missing: Cell<Option<PointId>>,
}

impl Names for Inputs<'_> {
    fn value(&self, place: usize) -> Option<Datum> {
        let point = *self.points.get(place)?;
        let Some((value, at)) = self.tags[point.index()].usable() else {
            self.missing.set(Some(point));
            return None;
        };
        if self.tags[point.index()].quality == Quality::Uncertain {
            self.is_uncertain.set(true);
        }
        self.newest.set(self.newest.get().max(Some(at)));
        Some(value.clone())
    }
}

impl DriverState {
    /// The same, with tags that are computed.
    pub(crate) fn computing(mut self, virtual_tags: Vec<VirtualTag>) -> Self {
        self.computing = Computing::new(virtual_tags);
        self
    }

    /// The points of the machine that a tag stands for: itself, or all that it is computed from.
    pub(crate) fn sources_of(&self, point: PointId, sources: &mut BTreeSet<PointId>) {
        match self.computing.all.iter().find(|tag| tag.point == point) {
            Some(tag) => tag.inputs.iter().for_each(|input| self.sources_of(*input, sources)),
            None => drop(sources.insert(point)),
        }
    }

    /// Computes what stands upon something that was heard of.
    pub(super) fn compute(&mut self, now: Now) {
        while let Some(index) = self.computing.due.pop_first() {
            let tag = &self.computing.all[index];
            let inputs = Inputs {
                tags: &self.tags,
                points: &tag.inputs,
                is_uncertain: Cell::default(),
                newest: Cell::default(),
                missing: Cell::default(),
            };
            let (point, outcome) = (tag.point, tag.value(&inputs));
            let (is_uncertain, at) = (inputs.is_uncertain.get(), inputs.newest.get());
            let missing = inputs.missing.get().map(|it| &self.tags[it.index()]);
            let gone = missing.map(|it| (it.quality, format!("{} has no good value", it.name)));
            let tag = &mut self.tags[point.index()];
            let is_news = match (outcome, gone) {
                (Ok(Some(value)), _) => {
                    let quality = if is_uncertain { Quality::Uncertain } else { Quality::Good };
                    let at = at.unwrap_or(now.t);
                    tag.take_good(Sample { point, value, quality, at: Some(at) }, now)
                }
                // It is yet to be read for the first time.
                (Ok(None), Some((Quality::Good, _))) => false,
                (Ok(None), Some((Quality::Stale, _))) => tag.take_stale(),
                (Ok(None), Some((_, reason))) => tag.take_bad(reason, now),
                (Ok(None), None) => tag.take_bad("it has no value".to_owned(), now),
                (Err(reason), _) => tag.take_bad(reason, now),
            };
            if is_news {
                self.dirty.insert(point);
            }
            self.computing.heard(point);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drivers::{DeviceError, ReadError, ReadOutcome, TagConfig};
    use proto::UnsPath;
    use serde_json::{Value as Json, json};

    fn at(ms: u64) -> Now {
        Now { ms, t: TimestampMs(1_000_000 + ms) }
    }

    /// Points `a` and `b`, and tags that are computed.
    fn state(virtual_tags: &[(&str, &str, Json)]) -> DriverState {
        let value = |name: &str| json!({"tag": name, "address": "1", "path": "acme/_raw/v"});
        let mut configs = vec![value("a"), value("b")];
        for (name, expression, more) in virtual_tags {
            let mut tag = json!({"tag": name, "kind": "virtual", "expression": expression,
                "path": "acme/_raw/v"});
            tag.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            configs.push(tag);
        }
        let read = |json: Json| serde_json::from_value::<TagConfig>(json).unwrap();
        let configs: Vec<TagConfig> = configs.into_iter().map(read).collect();
        let found = drivers::virtual_tags(&configs).unwrap();
        let path = UnsPath::parse("acme/_raw/v").unwrap();
        let tags = configs.into_iter().map(|it| Tag::new(it, path.clone(), None, at(0)));
        let mut state = DriverState::new(tags.collect(), false, 0, 2, at(0)).computing(found);
        state.next_command(at(0)).unwrap();
        state.connected(Ok(()), at(0), 0);
        state
    }

    fn read(state: &mut DriverState, points: [Result<i64, ()>; 2], now: Now) {
        let points = (0..).zip(points).map(|(index, value)| {
            let (point, target) = (PointId(index), "1".to_owned());
            let refused = |()| ReadError::Device { target, error: DeviceError::IllegalAddress };
            let sample = |value| Sample {
                point,
                value: Datum::Int(value),
                quality: Quality::Good,
                at: Some(TimestampMs(now.t.0 + u64::from(index))),
            };
            (point, value.map(sample).map_err(refused))
        });
        state.read(ReadOutcome { points: points.collect(), lost: None }, now, 0);
    }

    /// What is to be published of the tags that are computed, taken as published.
    fn publish(state: &mut DriverState, now: Now) -> String {
        state.age(now);
        let values = state.unpublished(now);
        let is_virtual = |(point, _): &&(PointId, _)| point.0 > 1;
        let show = |(point, value): &(PointId, proto::Value)| {
            let v = value.v.as_ref().map_or("-".to_owned(), ToString::to_string);
            format!("{}:{v} {:?}@{}", point.0, value.q, value.t.0 - 1_000_000)
        };
        let shown: Vec<String> = values.iter().filter(is_virtual).map(show).collect();
        state.published(values, now);
        shown.join(", ")
    }

    #[test]
    fn it_follows_what_it_stands_upon_and_has_the_newest_time() {
        let mut state = state(&[
            ("sum", "a + b", json!({})),
            ("double", "sum * 2", json!({})),
            ("part", "a / 3", json!({"precision": 2})),
            ("calm", "a", json!({"deadband": 5.0})),
            ("fixed", "6 * 7", json!({})),
        ]);
        assert_eq!(publish(&mut state, at(0)), "6:42 Good@0");
        read(&mut state, [Ok(1), Ok(2)], at(10));
        let first = "2:3 Good@11, 3:6 Good@11, 4:0.33 Good@10, 5:1 Good@10";
        assert_eq!(publish(&mut state, at(10)), first);
        read(&mut state, [Ok(1), Ok(2)], at(20));
        assert_eq!(publish(&mut state, at(20)), "", "nothing has changed");
        read(&mut state, [Ok(4), Ok(3)], at(30));
        assert_eq!(publish(&mut state, at(30)), "2:7 Good@31, 3:14 Good@31, 4:1.33 Good@30");
    }

    #[test]
    fn it_is_no_better_than_what_it_stands_upon() {
        let mut state = state(&[("sum", "a + b", json!({})), ("any", "coalesce(b, a)", json!({}))]);
        read(&mut state, [Ok(1), Ok(2)], at(0));
        assert_eq!(publish(&mut state, at(0)), "2:3 Good@1, 3:2 Good@1");
        read(&mut state, [Ok(5), Err(())], at(10));
        assert_eq!(publish(&mut state, at(10)), "2:3 Bad@1, 3:5 Good@10");
        assert_eq!(state.tags()[2].error.as_deref(), Some("b has no good value"));
        state.lost("gone".to_owned(), at(20), 0);
        assert_eq!(publish(&mut state, at(2020)), "2:3 Stale@1, 3:5 Stale@10");
        assert_eq!(state.tags()[2].error, None);
    }

    #[test]
    fn what_cannot_be_computed_is_bad_until_it_can() {
        let mut state = state(&[("part", "a / b", json!({}))]);
        read(&mut state, [Ok(1), Ok(0)], at(0));
        assert_eq!(publish(&mut state, at(0)), "2:- Bad@0");
        assert_eq!(state.tags()[2].error.as_deref(), Some("division by zero"));
        read(&mut state, [Ok(1), Ok(2)], at(10));
        assert_eq!(publish(&mut state, at(10)), "2:0.5 Good@11");
    }

    #[test]
    fn nothing_is_told_before_the_first_value_and_sources_are_found_through_others() {
        let mut state = state(&[("sum", "a + 1", json!({})), ("twice", "sum * b", json!({}))]);
        assert_eq!(publish(&mut state, at(0)), "");
        let mut sources = BTreeSet::new();
        state.sources_of(PointId(3), &mut sources);
        assert_eq!(sources, BTreeSet::from([PointId(0), PointId(1)]));
    }
}
