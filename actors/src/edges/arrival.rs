//! What of a shipment is published, and how.

use super::received::ReceivedRow;
use super::things::rows::{Said, SaidRow};
use super::things::said;
use crate::uplink::properties::{HISTORICAL, apply};
use broker::Outgoing;
use bytes::Bytes;
use proto::platform::crossing;
use proto::uplink::{BlockReader, Damaged, Lane, Range, Record};
use proto::{EdgeId, ThingId, TimestampMs, TopicName, Value};

/// The most that one shipment may become: a few bytes of it can stand for many.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why a shipment is not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// It cannot be read.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// It becomes too much.
    #[error("a shipment becomes more than {BYTES_MAX} bytes")]
    TooLarge,
}

/// What is in a shipment.
#[derive(Default)]
pub(super) struct Arrived {
    /// To be published.
    pub(super) messages: Vec<Outgoing>,
    /// For device actors.
    pub(super) said: Vec<(ThingId, SaidRow)>,
}

/// What is in a shipment under numbers that are not here yet; `row` then has them. `retained` tells what is retained on
/// a topic, `is_here` whether a thing is at this edge node, of whose data folder `life` is one. What is said of a thing
/// has at most `said_bytes_max`.
pub(super) fn open(
    (edge, life): (&EdgeId, u64),
    lane: Lane,
    block: BlockReader,
    (row, now): (&mut ReceivedRow, TimestampMs),
    (retained, is_here): (impl Fn(&TopicName) -> Option<Bytes>, impl Fn(&ThingId) -> bool),
    said_bytes_max: usize,
) -> Result<Arrived, Unfit> {
    let range = block.range();
    let mut arrived = Arrived::default();
    let mut bytes = 0;
    for record in block {
        let (number, record) = record?;
        bytes += record.payload.len() + record.properties.len();
        if bytes > BYTES_MAX {
            return Err(Unfit::TooLarge);
        }
        if row.numbers.contains(number) {
            row.again += 1;
            continue;
        }
        if !crossing::may_come_up(edge, &record.topic) {
            row.refused += 1;
            continue;
        }
        if let Some((thing, said)) = of_thing(&record) {
            let fits = record.payload.len() <= said_bytes_max;
            match said.filter(|_| fits && is_here(&thing)) {
                Some(said) => {
                    row.records += 1;
                    arrived.said.push((thing, SaidRow { edge: edge.clone(), life, said }));
                }
                None => row.refused += 1,
            }
            continue;
        }
        row.records += 1;
        arrived.messages.extend(message(record, lane, now, &retained));
    }
    row.numbers.add(Range { ..range });
    Ok(arrived)
}

/// What a record says of a thing, if it is one that does; nothing if it cannot be read.
fn of_thing(record: &Record) -> Option<(ThingId, Option<Said>)> {
    let (thing, news) = crossing::news_of_thing(&record.topic)?;
    let said = said::read(news, &record.payload);
    let why = |error: &_| tracing::warn!(%error, %thing, "what is said is not understood");
    let said = said.inspect_err(why).ok();
    Some((thing, said))
}

/// A record as it is published here; `None` if its time is over.
fn message(
    record: Record,
    lane: Lane,
    now: TimestampMs,
    retained: &impl Fn(&TopicName) -> Option<Bytes>,
) -> Option<Outgoing> {
    let Record { topic, payload, qos, retain, properties } = record;
    let is_newest = lane == Lane::Live || !retain || is_newer(&payload, retained(&topic), now);
    let mut outgoing = Outgoing::new(topic, payload).qos(qos);
    let is_alive = apply(&properties, now, &mut outgoing);
    if lane == Lane::Backfill && !(retain && is_newest) {
        let property = (HISTORICAL.into(), "true".into());
        outgoing.properties.user_properties.push(property);
    }
    outgoing.retain = retain && is_newest;
    is_alive.then_some(outgoing)
}

/// Whether a value is younger than what is retained, by source time. What has no time is not.
fn is_newer(payload: &Bytes, retained: Option<Bytes>, now: TimestampMs) -> bool {
    let Some(retained) = retained else { return true };
    // A bare scalar has no source time: it would be stamped with now.
    let time =
        |payload: &Bytes, without| Value::parse(payload, TimestampMs(without)).map(|it| it.t);
    match (time(payload, 0), time(&retained, now.0)) {
        (Ok(new), Ok(old)) => new > old,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::Qos;
    use proto::uplink::Block;

    const NOW: TimestampMs = TimestampMs(1000);

    fn topic(text: &str) -> TopicName {
        TopicName::parse(text.to_owned()).unwrap()
    }

    fn value(v: u32, t: u64) -> Bytes {
        Bytes::from(format!("{{\"v\":{v},\"t\":{t},\"q\":\"good\"}}"))
    }

    fn block(first: u64, records: &[(&str, Bytes)]) -> BlockReader {
        let mut block = Block::new(first, NOW);
        for (name, payload) in records {
            let (topic, payload) = (topic(name), payload.clone());
            let properties = Bytes::new();
            block.push(&Record { topic, payload, qos: Qos::AtLeastOnce, retain: true, properties });
        }
        BlockReader::open(Bytes::from(block.finish())).unwrap()
    }

    fn edge() -> EdgeId {
        EdgeId::parse("press").unwrap()
    }

    fn messages(
        lane: Lane,
        block: BlockReader,
        row: &mut ReceivedRow,
        retained: impl Fn(&TopicName) -> Option<Bytes>,
    ) -> Vec<Outgoing> {
        let around = (retained, |_: &_| true);
        open((&edge(), 1), lane, block, (row, NOW), around, 100).unwrap().messages
    }

    #[test]
    fn what_is_said_of_a_thing_is_for_its_device_and_published_to_nobody() {
        let status = Bytes::from_static(br#"{"online":true,"t":5,"reason":"connected"}"#);
        let records = [
            ("edges/press/things/fan/status", status.clone()),
            ("edges/press/things/fan/status", Bytes::from_static(b"nonsense")),
            ("edges/press/things/strange/status", status.clone()),
            ("edges/press/things/fan/status", Bytes::from([&status[..], &[b' '; 100]].concat())),
        ];
        let mut row = ReceivedRow::default();
        let around = (|_: &_| None, |thing: &ThingId| thing.as_str() == "fan");
        let block = block(0, &records);
        let arrived = open((&edge(), 7), Lane::Live, block, (&mut row, NOW), around, 100).unwrap();
        assert!(arrived.messages.is_empty());
        let [(thing, said)] = &arrived.said[..] else { panic!("one can be read, of one thing") };
        assert_eq!((thing.as_str(), said.life), ("fan", 7));
        assert!(matches!(&said.said, Said::Status(status) if status.online));
        assert_eq!((row.records, row.refused), (1, 3));
    }

    #[test]
    fn a_number_counts_once_and_a_topic_of_others_not_at_all() {
        let mut row = ReceivedRow::default();
        let records = [("a", value(1, 1)), ("edges/paint/status", value(1, 1)), ("b", value(2, 1))];
        let found = messages(Lane::Live, block(5, &records), &mut row, |_| None);
        let names: Vec<_> = found.iter().map(|it| it.topic.to_string()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!((row.records, row.refused, row.again), (2, 1, 0));
        let records = [("b", value(2, 1)), ("b", value(3, 2))];
        let found = messages(Lane::Live, block(7, &records), &mut row, |_| None);
        assert_eq!(found.len(), 1);
        assert_eq!((row.records, row.again, row.numbers.runs().len()), (3, 1, 1));
    }

    #[test]
    fn what_waited_does_not_replace_what_is_newer() {
        let retained = |topic: &TopicName| match topic.as_str() {
            "newer" => Some(value(9, 100)),
            "older" => Some(value(9, 10)),
            "scalar" => Some(Bytes::from_static(b"7")),
            _ => None,
        };
        let names = ["newer", "older", "scalar", "nothing"];
        let records = names.map(|name| (name, value(1, 50)));
        let mut row = ReceivedRow::default();
        let found = messages(Lane::Backfill, block(0, &records), &mut row, retained);
        let retained: Vec<bool> = found.iter().map(|it| it.retain).collect();
        assert_eq!(retained, [false, true, false, true]);
        let historical = |it: &Outgoing| !it.properties.user_properties.is_empty();
        let historical: Vec<bool> = found.iter().map(historical).collect();
        assert_eq!(historical, [true, false, true, false]);
        // What comes live is as it was published.
        let mut row = ReceivedRow::default();
        let live = messages(Lane::Live, block(0, &records), &mut row, |_| None);
        assert!(
            live.iter().all(|it| it.retain && !it.properties.user_properties.iter().any(|_| true))
        );
    }
}
