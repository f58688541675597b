//! What waits for the bus, as sequences of outages, pages and events.

use super::*;
use crate::driver::command::Now;
use drivers::{EventLevel, Lost};
use proto::{Quality, UnsPath};
use serde_json::{Map, json};

const DAY_MS: u64 = 86_400_000;

fn tags(count: usize, more: &serde_json::Value) -> Vec<Tag> {
    let tag = |index| {
        let path = format!("acme/_raw/t{index}");
        let mut json = json!({ "tag": format!("t{index}"), "address": "i=1", "path": path });
        for (key, value) in more.as_object().into_iter().flatten() {
            json[key] = value.clone();
        }
        let config = serde_json::from_value(json).unwrap();
        let now = Now { ms: 0, t: TimestampMs(0) };
        Tag::new(config, UnsPath::parse(&path).unwrap(), None, now)
    };
    (0..count).map(tag).collect()
}

fn gap(point: u32, after: u64, before: u64) -> Gap {
    Gap { point: PointId(point), after: TimestampMs(after), before: TimestampMs(before) }
}

fn kept(point: u32, values: &[(u64, i64)], more_after: Option<u64>) -> Kept {
    let point = PointId(point);
    let sample = |(at, value): &(u64, i64)| Sample {
        point,
        value: Datum::Int(*value),
        quality: Quality::Good,
        at: Some(TimestampMs(*at)),
    };
    let samples = values.iter().map(sample).collect();
    Kept { point, samples, more_after: more_after.map(TimestampMs) }
}

fn event(point: u32) -> Event {
    Event { point: PointId(point), at: None, level: EventLevel::Notify, data: Map::new() }
}

/// What is to be published of the past, as `point:value@time`; taken as published.
fn publish(backlog: &mut Backlog) -> String {
    let (values, _) = backlog.unpublished(usize::MAX);
    backlog.published(values.len(), 0);
    let show = |(point, value): &(PointId, Value)| {
        format!("{}:{}@{}", point.0, value.v.clone().unwrap(), value.t.0)
    };
    values.iter().map(show).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_gap_is_asked_for_page_by_page_and_the_next_only_when_the_one_before_is_on_the_bus() {
    let tags = tags(1, &json!({}));
    let mut backlog = Backlog::new(DAY_MS, 1);
    assert_eq!(backlog.next_gaps(), None);
    backlog.was_away(gap(0, 1000, 9000), Some(Datum::Int(1)));
    assert_eq!(backlog.next_gaps(), Some(vec![gap(0, 1000, 9000)]));
    backlog.recalled(Ok(vec![kept(0, &[(2000, 2), (3000, 3)], Some(3000))]), &tags);
    assert_eq!(backlog.next_gaps(), None, "two values wait");
    assert_eq!(publish(&mut backlog), "0:2@2000 0:3@3000");
    assert_eq!(backlog.next_gaps(), Some(vec![gap(0, 3000, 9000)]));
    backlog.recalled(Ok(vec![kept(0, &[(4000, 4)], None)]), &tags);
    assert_eq!(publish(&mut backlog), "0:4@4000");
    assert_eq!(backlog.next_gaps(), None);
    assert_eq!(backlog.take_losses(), Losses::default());
}

#[test]
fn values_of_the_past_are_published_as_the_tag_says_of_those_of_now() {
    for (more, expected) in [
        (json!({}), "0:2@2000 0:1@4000"),
        (json!({"publish": "always"}), "0:1@1500 0:2@2000 0:2@3000 0:1@4000"),
        (json!({"deadband": 1.0}), ""),
        (json!({"min_interval_ms": 3000}), "0:1@4000"),
    ] {
        let tags = tags(1, &more);
        let mut backlog = Backlog::new(DAY_MS, 1);
        let last = if more["min_interval_ms"].is_null() { 1 } else { 2 };
        backlog.was_away(gap(0, 1000, 9000), Some(Datum::Int(last)));
        backlog.next_gaps();
        let values = [(1500, 1), (2000, 2), (3000, 2), (4000, 1)];
        backlog.recalled(Ok(vec![kept(0, &values, None)]), &tags);
        assert_eq!(publish(&mut backlog), expected, "{more}");
    }
}

#[test]
fn gaps_that_begin_together_are_asked_for_together() {
    let mut backlog = Backlog::new(DAY_MS, 100);
    for point in 0..60 {
        backlog.was_away(gap(point, 1000 + u64::from(point), 9000), None);
    }
    backlog.was_away(gap(70, 1, 9000), None);
    backlog.was_away(gap(71, 1001, 9000), None);
    assert_eq!(backlog.next_gaps().unwrap().len(), 4, "1 to 1001");
    backlog.recalled(Ok(vec![]), &[]);
    assert_eq!(backlog.next_gaps().unwrap().len(), GAPS_AT_ONCE);
}

#[test]
fn what_is_too_long_ago_or_too_much_is_given_up_and_counted() {
    let mut backlog = Backlog::new(5000, 1);
    backlog.was_away(gap(0, 1000, 9000), None);
    assert_eq!(backlog.take_losses().gaps, 1);
    assert_eq!(backlog.next_gaps(), Some(vec![gap(0, 4000, 9000)]));
    backlog.lost();
    for outage in 0..GAPS_PER_TAG as u64 + 1 {
        backlog.was_away(gap(0, 10_000 + outage * 10, 10_005 + outage * 10), None);
    }
    assert_eq!(backlog.take_losses().gaps, 2);
    assert_eq!(backlog.gaps.len(), GAPS_PER_TAG);
}

#[test]
fn a_machine_that_keeps_nothing_is_not_asked_again_and_one_that_is_lost_is() {
    let mut backlog = Backlog::new(DAY_MS, 9);
    backlog.was_away(gap(0, 1000, 9000), Some(Datum::Int(1)));
    backlog.next_gaps();
    backlog.recalled(Err(QueryError::Lost(Lost::NotConnected)), &[]);
    assert_eq!(backlog.next_gaps(), Some(vec![gap(0, 1000, 9000)]));
    backlog.was_away(gap(1, 90_000, 99_000), None);
    backlog.recalled(Err(QueryError::Unsupported), &[]);
    assert_eq!((backlog.next_gaps(), backlog.take_losses().gaps), (None, 0));
    let mut never = Backlog::new(0, 9);
    never.was_away(gap(0, 1000, 9000), None);
    assert_eq!(never.next_gaps(), None);
}

#[test]
fn a_machine_that_does_not_survive_the_question_is_not_asked_for_ever() {
    let mut backlog = Backlog::new(DAY_MS, 9);
    backlog.was_away(gap(0, 1000, 9000), None);
    backlog.was_away(gap(1, 90_000, 99_000), None);
    for _ in 1..LOSSES_MAX {
        assert_eq!(backlog.next_gaps(), Some(vec![gap(0, 1000, 9000)]));
        backlog.lost();
        backlog.lost();
    }
    backlog.next_gaps();
    backlog.lost();
    assert_eq!((backlog.next_gaps(), backlog.take_losses().gaps), (None, 2));

    // Nor is one that is late, but an answer in between counts.
    for point in 0..3 {
        backlog.was_away(gap(point, 10_000 * u64::from(point), 90_000), None);
    }
    for _ in 0..2 {
        backlog.next_gaps();
        backlog.lost();
        backlog.next_gaps();
        backlog.recalled(Ok(vec![kept(0, &[], None)]), &tags(3, &json!({})));
    }
    backlog.next_gaps();
    backlog.was_away(gap(1, 80_000, 90_000), None);
    backlog.recalled(Err(QueryError::Device(drivers::DeviceError::DeviceBusy)), &[]);
    assert_eq!((backlog.next_gaps(), backlog.take_losses().gaps), (None, 2));
}

#[test]
fn of_events_that_are_too_many_the_oldest_go_and_are_counted() {
    let mut backlog = Backlog::new(0, 1);
    backlog.happened((0..EVENTS_MAX as u32 + 3).map(event).collect());
    let (_, events) = backlog.unpublished(2);
    assert_eq!(events, [event(3), event(4)]);
    assert_eq!(backlog.take_losses().events, 3);
    backlog.published(0, 2);
    assert_eq!(backlog.unpublished(1).1, [event(5)]);
}
