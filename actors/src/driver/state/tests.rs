//! The rules of a driver, as sequences of outcomes and what follows from them.

use super::*;
use drivers::{DeviceError, Gap, Lost, PointWrite, Sample, TagConfig};
use proto::{TagId, TimestampMs, UnsPath};
use serde_json::json;

fn at(ms: u64) -> Now {
    Now { ms, t: TimestampMs(1_000_000 + ms) }
}

fn tag(index: usize, retained: Option<Value>) -> Tag {
    tag_with(index, retained, &json!({}))
}

fn tag_with(index: usize, retained: Option<Value>, changes: &serde_json::Value) -> Tag {
    let path = format!("acme/_raw/t{index}");
    let mut json = json!({
        "tag": format!("t{index}"), "address": "holding:0", "type": "uint16",
        "path": path, "poll_interval_ms": 1000, "access": "read_write",
    });
    json.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let config: TagConfig = serde_json::from_value(json).unwrap();
    Tag::new(config, UnsPath::parse(&path).unwrap(), retained, at(0))
}

fn state(tags: usize) -> DriverState {
    DriverState::new((0..tags).map(|index| tag(index, None)).collect(), false, 0, 2, at(0))
}

fn good(values: &[i64]) -> ReadOutcome {
    let point = |(index, value): (u32, &i64)| {
        let (point, value) = (PointId(index), Datum::Int(*value));
        (point, Ok(Sample { point, value, quality: Quality::Good, at: None }))
    };
    ReadOutcome { points: (0..).zip(values).map(point).collect(), lost: None }
}

fn lost() -> ReadOutcome {
    let points = vec![(PointId(0), Err(ReadError::ConnectionLost))];
    ReadOutcome { points, lost: Some(Lost::NotConnected) }
}

fn by_itself(outcome: ReadOutcome) -> Pushed {
    Pushed { points: outcome.points, lost: outcome.lost, ..Pushed::default() }
}

fn write(ticket: u64) -> Write {
    write_to(0, ticket)
}

fn write_to(point: u32, ticket: u64) -> Write {
    let what = PointWrite { point: PointId(point), value: Datum::Int(1), verify: false };
    Write { what, ticket }
}

fn writes(points: &[u32]) -> Option<Command> {
    Some(Command::Write(points.iter().map(|point| write_to(*point, 0).what).collect()))
}

fn read(points: &[u32]) -> Option<Command> {
    Some(Command::Read(points.iter().map(|point| PointId(*point)).collect()))
}

fn connected(tags: usize) -> DriverState {
    let mut state = state(tags);
    assert_eq!(state.next_command(at(0)), Some(Command::Connect));
    state.connected(Ok(()), at(0), 0);
    state
}

/// What is to be published, as `point:value quality@time after the start`; taken as published.
fn publish(state: &mut DriverState, now: Now) -> String {
    state.age(now);
    let values = state.unpublished(now);
    let show = |(point, value): &(PointId, Value)| {
        let v = value.v.as_ref().map_or("-".to_owned(), ToString::to_string);
        format!("{}:{v} {:?}@{}", point.0, value.q, value.t.0 - 1_000_000)
    };
    let shown: Vec<String> = values.iter().map(show).collect();
    state.published(values, now);
    shown.join(", ")
}

#[test]
fn one_command_at_a_time_and_writes_before_polls() {
    let mut state = connected(2);
    assert_eq!(state.next_command(at(0)), read(&[0, 1]));
    state.ask_write(write(1)).unwrap();
    state.ask_write(write(2)).unwrap();
    let refusal = state.ask_write(write(3)).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::TooManyRequests);
    assert_eq!(state.next_command(at(1500)), None, "the read is under way");
    state.read(good(&[1, 2]), at(1500), 0);
    for ticket in [1, 2] {
        assert_eq!(state.next_command(at(1500)), writes(&[0]));
        let answers = state.written(vec![Ok(Datum::Int(1))], at(1500), 0);
        assert_eq!(answers, [(ticket, Ok(json!(1)))]);
    }
    assert_eq!(state.next_command(at(1500)), read(&[0, 1]), "due, and read back");
    state.read(good(&[1, 2]), at(1501), 0);
    publish(&mut state, at(1501));
    assert_eq!(state.wake_at_ms(), Some(2000));
}

#[test]
fn writes_go_together_as_many_as_the_machine_takes_and_each_point_once() {
    let mut state = connected(3).writing(3);
    for (point, ticket) in [(0, 1), (1, 2), (0, 3), (2, 4)] {
        state.push_write(write_to(point, ticket));
    }
    assert_eq!(state.next_command(at(0)), writes(&[0, 1]), "the next is of a point that is there");
    let refused = || WriteError::ReadOnly { target: "b".to_owned() };
    let answers = state.written(vec![Ok(Datum::Int(1)), Err(refused())], at(1), 0);
    assert_eq!(answers[0], (1, Ok(json!(1))));
    assert_eq!((answers[1].0, answers[1].1.is_err(), answers.len()), (2, true, 2));
    assert_eq!(state.next_command(at(1)), writes(&[0, 2]));
    state.push_write(write_to(1, 5));
    let lost = || Err(WriteError::Lost(Lost::NotConnected));
    let answers = state.written(vec![lost(), lost()], at(2), 0);
    let tickets: Vec<u64> = answers.iter().map(|(ticket, _)| *ticket).collect();
    assert_eq!(tickets, [3, 4, 5], "also the one that waits, each once");
}

#[test]
fn a_written_point_is_read_back_at_once() {
    let mut state = connected(2);
    state.next_command(at(0));
    state.read(good(&[1, 2]), at(1), 0);
    state.ask_write(write(1)).unwrap();
    state.next_command(at(2));
    state.written(vec![Ok(Datum::Int(1))], at(3), 0);
    assert_eq!(state.next_command(at(3)), read(&[0]));
}

#[test]
fn values_are_published_on_change_and_after_each_connect() {
    let mut state = connected(2);
    state.next_command(at(0));
    state.read(good(&[1, 2]), at(5), 0);
    assert_eq!(publish(&mut state, at(5)), "0:1 Good@5, 1:2 Good@5");
    for (now, values, expected) in
        [(1000, [1, 2], ""), (2000, [1, 3], "1:3 Good@2000"), (3000, [1, 3], "")]
    {
        assert_eq!(state.next_command(at(now)), read(&[0, 1]));
        state.read(good(&values), at(now), 0);
        assert_eq!(publish(&mut state, at(now)), expected);
    }
    state.next_command(at(4000));
    state.read(lost(), at(4000), 0);
    assert_eq!(state.next_command(at(4250)), Some(Command::Connect));
    state.connected(Ok(()), at(4250), 0);
    state.next_command(at(4250));
    state.read(good(&[1, 3]), at(4250), 0);
    assert_eq!(publish(&mut state, at(4250)), "0:1 Good@4250, 1:3 Good@4250");
}

#[test]
fn what_was_not_published_is_offered_again() {
    let mut state = connected(1);
    state.next_command(at(0));
    state.read(good(&[1]), at(0), 0);
    assert_eq!(state.unpublished(at(0)).len(), 1);
    state.next_command(at(1000));
    state.read(good(&[1]), at(1000), 0);
    assert_eq!(publish(&mut state, at(1000)), "0:1 Good@1000");
    assert_eq!(publish(&mut state, at(1000)), "");
}

/// A machine that pushes may say nothing more, and wait for what it has said to be kept.
#[test]
fn what_was_not_published_is_offered_again_without_another_word_of_the_machine() {
    let mut state = DriverState::new(vec![tag(0, None)], true, 0, 2, at(0));
    state.next_command(at(0));
    state.connected(Ok(()), at(0), 0);
    state.next_command(at(0));
    state.subscribed(Ok(()), at(0), 0);
    state.pushed(by_itself(good(&[1])), at(10), 0);
    state.age(at(10));
    assert_eq!(state.unpublished(at(10)).len(), 1);
    assert_eq!(state.wake_at_ms(), Some(10 + RETRY_MS));
    assert_eq!(publish(&mut state, at(1010)), "0:1 Good@10");
    assert_eq!(state.wake_at_ms(), None);
}

#[test]
fn values_turn_stale_two_intervals_after_the_last_word_and_keep_its_time() {
    let mut state = connected(1);
    state.next_command(at(0));
    state.read(good(&[7]), at(10), 0);
    publish(&mut state, at(10));
    state.next_command(at(1000));
    state.read(good(&[7]), at(1010), 0);
    state.next_command(at(2000));
    state.read(lost(), at(2000), 0);
    assert_eq!(publish(&mut state, at(3009)), "");
    assert_eq!(state.wake_at_ms(), Some(2125), "the next attempt");
    state.next_command(at(2200));
    assert_eq!(state.wake_at_ms(), Some(3010), "also while it connects");
    assert_eq!(publish(&mut state, at(3010)), "0:7 Stale@1010");
    assert_eq!(publish(&mut state, at(9000)), "");
}

#[test]
fn a_retained_value_ages_and_one_never_read_is_not_published() {
    let before = Value::good(Datum::Int(5), TimestampMs(1_000_000), None);
    let tags = vec![tag(0, Some(before)), tag(1, None)];
    let mut state = DriverState::new(tags, false, 0, 2, at(0));
    state.next_command(at(0));
    assert_eq!(publish(&mut state, at(1999)), "");
    assert_eq!(publish(&mut state, at(2000)), "0:5 Stale@0");
}

#[test]
fn a_refused_point_is_bad_until_it_is_good() {
    let refused = || {
        let error = DeviceError::IllegalAddress;
        let error = ReadError::Device { target: "holding:0".to_owned(), error };
        ReadOutcome { points: vec![(PointId(0), Err(error))], lost: None }
    };
    let mut state = connected(1);
    for (now, outcome, expected) in [
        (0, refused(), "0:- Bad@0"),
        (1000, refused(), ""),
        (2000, good(&[1]), "0:1 Good@2000"),
        (3000, refused(), "0:1 Bad@2000"),
        (4000, good(&[1]), "0:1 Good@4000"),
    ] {
        assert_eq!(state.next_command(at(now)), read(&[0]));
        state.read(outcome, at(now), 0);
        assert_eq!(publish(&mut state, at(now)), expected, "at {now}");
    }
}

#[test]
fn no_write_waits_for_a_connection_but_the_first() {
    let mut fresh = state(1);
    fresh.ask_write(write(1)).unwrap();
    assert_eq!(fresh.next_command(at(0)), Some(Command::Connect));
    let refused = ConnectError::Refused { address: "plc:502".to_owned() };
    let answers = fresh.connected(Err(refused), at(0), 0);
    assert_eq!(answers[0].1.as_ref().unwrap_err().code, RefusalCode::Unavailable);
    assert_eq!(fresh.ask_write(write(2)).unwrap_err().code, RefusalCode::Unavailable);
    let mut state = connected(1);
    state.next_command(at(0));
    state.ask_write(write(1)).unwrap();
    let answers = state.read(lost(), at(0), 0);
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].1.as_ref().unwrap_err().code, RefusalCode::Unavailable);

    // One that is under way when the driver hangs is answered too.
    let mut state = connected(1);
    state.ask_write(write(2)).unwrap();
    assert_eq!(state.next_command(at(0)), writes(&[0]));
    let answers = state.lost("hung".to_owned(), at(0), 0);
    assert_eq!(answers.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), [2]);
}

#[test]
fn attempts_to_connect_are_spread_out_until_a_good_read() {
    let mut state = state(1);
    let mut pauses = Vec::new();
    let mut now = 0;
    for _ in 0..3 {
        assert_eq!(state.next_command(at(now)), Some(Command::Connect));
        let refused = ConnectError::Refused { address: "plc:502".to_owned() };
        state.connected(Err(refused), at(now), 0);
        let next = state.link;
        let Link::Down { retry_at_ms } = next else { panic!("{next:?}") };
        pauses.push(retry_at_ms - now);
        now = retry_at_ms;
    }
    assert_eq!(pauses, [125, 250, 500]);
}

#[test]
fn pushed_values_are_published_like_polled_ones_and_a_loss_connects_anew() {
    let mut state = DriverState::new(vec![tag(0, None), tag(1, None)], true, 0, 2, at(0));
    assert_eq!(state.next_command(at(0)), Some(Command::Connect));
    state.connected(Ok(()), at(0), 0);
    let all = vec![PointId(0), PointId(1)];
    assert_eq!(state.next_command(at(0)), Some(Command::Subscribe(all.clone())));
    state.subscribed(Ok(()), at(1), 0);
    assert_eq!((state.next_command(at(5000)), state.wake_at_ms()), (None, None), "never polled");
    state.pushed(by_itself(good(&[1, 2])), at(5000), 0);
    assert_eq!(publish(&mut state, at(5000)), "0:1 Good@5000, 1:2 Good@5000");
    state.pushed(by_itself(lost()), at(6000), 0);
    assert!(!state.is_connected());
    assert_eq!(publish(&mut state, at(8000)), "0:1 Stale@5000, 1:2 Stale@5000");
    assert_eq!(state.next_command(at(8000)), Some(Command::Connect));
    state.connected(Ok(()), at(8000), 0);
    assert_eq!(state.next_command(at(8000)), Some(Command::Subscribe(all)), "subscribed anew");
}

#[test]
fn a_loss_while_a_command_is_under_way_is_that_commands_to_tell() {
    let mut state = DriverState::new(vec![tag(0, None)], true, 0, 2, at(0));
    state.next_command(at(0));
    state.connected(Ok(()), at(0), 0);
    state.next_command(at(0));
    state.pushed(by_itself(lost()), at(1), 0);
    assert!(state.is_connected(), "the subscribe is still under way");
    let lost = SubscribeError::Lost(Lost::NotConnected);
    state.subscribed(Err(lost), at(2), 0);
    assert!(!state.is_connected());
}

/// Such as a read of what is known already: it is no reason to believe in the connection.
#[test]
fn a_loss_that_a_command_has_not_noticed_is_one_when_that_is_over() {
    let mut state = connected(1);
    assert_eq!(state.next_command(at(0)), read(&[0]));
    state.pushed(by_itself(lost()), at(10), 0);
    assert_eq!(state.late(at(10), 0), []);
    assert_eq!(state.read(good(&[1]), at(20), 0), []);
    assert!(state.is_connected());
    state.late(at(20), 0);
    assert!(!state.is_connected());
}

#[test]
fn a_machine_that_does_not_push_after_all_is_polled() {
    let mut state = DriverState::new(vec![tag(0, None)], true, 0, 2, at(0));
    state.next_command(at(0));
    state.connected(Ok(()), at(0), 0);
    state.next_command(at(0));
    state.subscribed(Err(SubscribeError::Unsupported), at(1), 0);
    assert_eq!(state.next_command(at(1)), read(&[0]));
}

fn paced(changes: &serde_json::Value) -> DriverState {
    let mut state = DriverState::new(vec![tag_with(0, None, changes)], true, 0, 2, at(0));
    state.next_command(at(0));
    state.connected(Ok(()), at(0), 0);
    state.next_command(at(0));
    state.subscribed(Ok(()), at(0), 0);
    state
}

#[test]
fn what_changes_too_fast_waits_and_its_last_value_counts() {
    let mut state = paced(&json!({"min_interval_ms": 100}));
    state.pushed(by_itself(good(&[1])), at(0), 0);
    assert_eq!(publish(&mut state, at(0)), "0:1 Good@0");
    for ms in [10, 20, 30] {
        state.pushed(by_itself(good(&[ms])), at(ms as u64), 0);
        assert_eq!(publish(&mut state, at(ms as u64)), "");
    }
    assert_eq!(state.wake_at_ms(), Some(100));
    assert_eq!(publish(&mut state, at(100)), "0:30 Good@30");
    assert_eq!(state.wake_at_ms(), None);
}

#[test]
fn what_does_not_change_is_said_again() {
    let mut state = paced(&json!({"max_interval_ms": 500}));
    state.pushed(by_itself(good(&[1])), at(0), 0);
    assert_eq!(publish(&mut state, at(0)), "0:1 Good@0");
    assert_eq!(state.wake_at_ms(), Some(500));
    assert_eq!(publish(&mut state, at(499)), "");
    assert_eq!(publish(&mut state, at(500)), "0:1 Good@0");
    state.pushed(by_itself(lost()), at(600), 0);
    publish(&mut state, at(5000));
    assert_eq!(publish(&mut state, at(9000)), "", "a stale value is not");
}

#[test]
fn what_is_always_published_needs_no_change() {
    let mut state = paced(&json!({"publish": "always"}));
    for ms in [0, 10] {
        state.pushed(by_itself(good(&[1])), at(ms), 0);
        assert_eq!(publish(&mut state, at(ms)), format!("0:1 Good@{ms}"));
    }
}

#[test]
fn each_of_several_values_that_come_together_is_published_in_order() {
    let batch = |values: &[i64]| {
        let value = |value: &i64| {
            let (point, value) = (PointId(0), Datum::Int(*value));
            (point, Ok(Sample { point, value, quality: Quality::Good, at: None }))
        };
        ReadOutcome { points: values.iter().map(value).collect(), lost: None }
    };
    let mut state = paced(&json!({}));
    state.pushed(by_itself(batch(&[1, 2, 3])), at(0), 0);
    assert_eq!(publish(&mut state, at(0)), "0:1 Good@0, 0:2 Good@0, 0:3 Good@0");
    state.pushed(by_itself(batch(&[4, 3])), at(10), 0);
    assert_eq!(publish(&mut state, at(10)), "0:4 Good@10, 0:3 Good@10");
    state.pushed(by_itself(batch(&[3])), at(20), 0);
    assert_eq!(publish(&mut state, at(20)), "");

    let mut state = paced(&json!({"min_interval_ms": 100}));
    state.pushed(by_itself(batch(&[1, 2, 3])), at(0), 0);
    assert_eq!(publish(&mut state, at(0)), "0:3 Good@0", "of a tag with a pace the last counts");
    let mut state = paced(&json!({}));
    let many: Vec<i64> = (0..20_000).collect();
    state.pushed(by_itself(batch(&many)), at(0), 0);
    assert_eq!(state.unpublished(at(0)).len(), PASSED_MAX + 1);
}

/// A driver that pushes, with a value, a method and events, in this order.
fn of_every_kind(backfill_max_ms: u64) -> DriverState {
    let of_kind = |kind: &str, path: &str| {
        let json = json!({ "tag": kind, "address": "i=1", "path": path, "kind": kind });
        let config = serde_json::from_value(json).unwrap();
        Tag::new(config, UnsPath::parse(path).unwrap(), None, at(0))
    };
    let tags = vec![
        of_kind("value", "acme/_raw/value"),
        of_kind("method", "acme/_raw/method"),
        of_kind("events", "acme/_event/plc"),
    ];
    let mut state = DriverState::new(tags, true, backfill_max_ms, 2, at(0));
    state.next_command(at(0));
    state.connected(Ok(()), at(0), 0);
    state
}

fn sampled(point: u32, value: i64, at_ms: u64) -> Pushed {
    let (point, value) = (PointId(point), Datum::Int(value));
    let sample = Sample { point, value, quality: Quality::Good, at: Some(at(at_ms).t) };
    Pushed { points: vec![(point, Ok(sample))], ..Pushed::default() }
}

#[test]
fn methods_are_not_heard_of_and_events_have_no_value() {
    let mut state = of_every_kind(0);
    let heard = Some(Command::Subscribe(vec![PointId(0), PointId(2)]));
    assert_eq!(state.next_command(at(0)), heard);
    state.subscribed(Err(SubscribeError::Unsupported), at(0), 0);
    assert_eq!(state.next_command(at(0)), read(&[0]), "only values are polled");
    let refused =
        ReadError::Device { target: "i=1".to_owned(), error: DeviceError::IllegalAddress };
    let told = Pushed { points: vec![(PointId(2), Err(refused))], ..Pushed::default() };
    state.pushed(told, at(1), 0);
    assert_eq!(state.tags()[2].quality, Quality::Bad);
    state.pushed(sampled(2, 1, 2), at(2), 0);
    assert_eq!(state.tags()[2].quality, Quality::Good);
    assert_eq!(publish(&mut state, at(60_000)), "", "also a minute later");
    let asked: TagId = "method".parse().unwrap();
    let refusal = state.values_of(&[asked]).unwrap_err();
    assert_eq!(refusal.message, "method has no value, it is of kind method");
}

#[test]
fn after_an_outage_the_machine_is_asked_for_what_it_has_kept() {
    let mut state = of_every_kind(60_000);
    state.next_command(at(0));
    state.subscribed(Ok(()), at(0), 0);
    state.pushed(sampled(0, 1, 1000), at(1000), 0);
    assert_eq!(publish(&mut state, at(1000)), "0:1 Good@1000");
    assert_eq!(state.next_command(at(1000)), None, "there was no outage");
    state.pushed(by_itself(lost()), at(2000), 0);
    assert_eq!(state.next_command(at(9000)), Some(Command::Connect));
    state.connected(Ok(()), at(9000), 0);
    state.next_command(at(9000));
    state.subscribed(Ok(()), at(9000), 0);
    state.pushed(sampled(0, 7, 8900), at(9000), 0);
    let gap = Gap { point: PointId(0), after: at(1000).t, before: at(8900).t };
    assert_eq!(state.next_command(at(9000)), Some(Command::Recall(vec![gap])));
    state.pushed(sampled(0, 8, 9000), at(9000), 0);
    state.recalled(Err(QueryError::Lost(Lost::NotConnected)), at(9100), 0);
    assert!(!state.is_connected());
    assert_eq!(state.next_command(at(20_000)), Some(Command::Connect));
    state.connected(Ok(()), at(20_000), 0);
    state.next_command(at(20_000));
    state.subscribed(Ok(()), at(20_000), 0);
    assert_eq!(state.next_command(at(20_000)), Some(Command::Recall(vec![gap])), "asked again");
}

#[test]
fn a_machine_that_is_read_without_a_pause_has_time_for_its_history() {
    let mut state = DriverState::new(vec![tag(0, None)], false, 60_000, 2, at(0));
    state.next_command(at(0));
    state.connected(Ok(()), at(0), 0);
    let gap = |after: u64| Gap { point: PointId(0), after: at(after).t, before: at(9000).t };
    state.backlog.was_away(gap(1), None);
    assert_eq!(state.next_command(at(0)), read(&[0]));
    state.read(good(&[1]), at(1000), 0);
    assert_eq!(state.next_command(at(1000)), Some(Command::Recall(vec![gap(1)])));
    let kept = Kept { point: PointId(0), samples: vec![], more_after: Some(at(5).t) };
    state.recalled(Ok(vec![kept]), at(2000), 0);
    assert_eq!(state.next_command(at(2000)), read(&[0]));
    state.read(good(&[1]), at(3000), 0);
    assert_eq!(state.next_command(at(3000)), Some(Command::Recall(vec![gap(5)])));
}
