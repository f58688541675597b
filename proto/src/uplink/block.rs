//! Blocks: records with numbers in a row, written together, read one after the other.
//!
//! `[version u8][first number][count][time of the first, ms][records]`, numbers in LEB128.

use super::codec::{Coder, Record};
use super::ranges::Range;
use crate::value::TimestampMs;
use crate::varint::{byte, get, put};
use bytes::Bytes;

const VERSION: u8 = 1;

/// Why bytes are no block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    /// Of a release that writes them otherwise.
    #[error("version {0} of blocks is not known")]
    Version(u8),
    /// Not what a block looks like.
    #[error("these bytes are no block of records")]
    Shape,
}

/// A block that is being written.
#[derive(Debug)]
pub struct Block {
    first: u64,
    at: TimestampMs,
    count: u64,
    coder: Coder,
    records: Vec<u8>,
}

/// A block that is being read.
#[derive(Debug)]
pub struct BlockReader {
    range: Range,
    at: TimestampMs,
    next: u64,
    coder: Coder,
    bytes: Bytes,
    offset: usize,
}

impl Block {
    /// One whose first record has the number `first` and was published at `at`.
    pub fn new(first: u64, at: TimestampMs) -> Self {
        Self { first, at, count: 0, coder: Coder::default(), records: Vec::new() }
    }

    /// Appends the next record.
    pub fn push(&mut self, record: &Record) {
        self.coder.encode(record, &mut self.records);
        self.count += 1;
    }

    /// How many records it has.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// About how long it is, in bytes.
    pub fn bytes(&self) -> usize {
        self.records.len()
    }

    /// The numbers of its records.
    pub fn range(&self) -> Range {
        Range { first: self.first, end: self.first + self.count }
    }

    /// The whole.
    pub fn finish(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.records.len() + 24);
        out.push(VERSION);
        put(self.first, &mut out);
        put(self.count, &mut out);
        put(self.at.0, &mut out);
        out.extend_from_slice(&self.records);
        out
    }
}

impl BlockReader {
    /// Reads the head of a block.
    pub fn open(bytes: Bytes) -> Result<Self, Damaged> {
        let mut input = &bytes[..];
        match byte(&mut input) {
            Some(VERSION) => {}
            Some(version) => return Err(Damaged::Version(version)),
            None => return Err(Damaged::Shape),
        }
        let mut number = || get(&mut input).ok_or(Damaged::Shape);
        let (first, count, at) = (number()?, number()?, number()?);
        // Each takes a byte at least.
        let end = first.checked_add(count).filter(|_| count <= input.len() as u64);
        let range = Range { first, end: end.ok_or(Damaged::Shape)? };
        let offset = bytes.len() - input.len();
        let at = TimestampMs(at);
        Ok(Self { range, at, next: first, coder: Coder::default(), bytes, offset })
    }

    /// The numbers of its records.
    pub fn range(&self) -> Range {
        self.range
    }

    /// When the first of them was published.
    pub fn at(&self) -> TimestampMs {
        self.at
    }
}

/// The records with their numbers; the last is an error if the block is damaged.
impl Iterator for BlockReader {
    type Item = Result<(u64, Record), Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.range.end {
            return None;
        }
        let mut input = &self.bytes[self.offset..];
        let Some(record) = self.coder.decode(&mut input) else {
            self.next = self.range.end;
            return Some(Err(Damaged::Shape));
        };
        self.offset = self.bytes.len() - input.len();
        let number = self.next;
        self.next += 1;
        Some(Ok((number, record)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::{Qos, TopicName};
    use proptest::prelude::*;

    fn record(topic: &str, payload: impl Into<Bytes>) -> Record {
        let topic = TopicName::parse(topic.to_owned()).unwrap();
        let (qos, retain) = (Qos::AtLeastOnce, true);
        Record { topic, payload: payload.into(), qos, retain, properties: Bytes::new() }
    }

    fn written(first: u64, records: &[Record]) -> Vec<u8> {
        let mut block = Block::new(first, TimestampMs(7));
        records.iter().for_each(|record| block.push(record));
        assert_eq!(block.range(), Range { first, end: first + records.len() as u64 });
        block.finish()
    }

    fn read(bytes: Vec<u8>) -> Result<Vec<(u64, Record)>, Damaged> {
        BlockReader::open(Bytes::from(bytes))?.collect()
    }

    /// Payloads that are values, look like values, and are anything.
    fn payloads() -> impl Strategy<Value = String> {
        let datum = prop_oneof![
            "-?[0-9]{1,5}(\\.[0-9]{1,3})?",
            "true|null|1e9|\"on\"|\"a,\\\\\"t\\\\\":1\"",
            any::<f64>().prop_map(|it| it.to_string()),
        ];
        let time = prop_oneof!["17636688[0-9]{5}", "0?[0-9]{0,21}"];
        let tail = prop_oneof![",\"q\":\"good\"}", ",\"q\":\"good\",\"u\":\"Cel\"}", "", ".{0,9}"];
        let value =
            (datum, time, tail).prop_map(|(v, t, tail)| format!("{{\"v\":{v},\"t\":{t}{tail}"));
        prop_oneof![4 => value, 1 => ".{0,20}"]
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(
            first in 0u64..1 << 50,
            messages in proptest::collection::vec(
                ("(a/b|a/c|uns/v1/x|d)", payloads(), 0u8..3, any::<bool>(), ".{0,3}"), 0..40),
        ) {
            let records: Vec<Record> = messages.into_iter().map(|(topic, payload, qos, retain, extra)| {
                let qos = Qos::try_from(qos).unwrap();
                let properties = Bytes::from(extra);
                Record { qos, retain, properties, ..record(&topic, payload) }
            }).collect();
            let found = read(written(first, &records)).unwrap();
            let numbered: Vec<_> = (first..).zip(records).collect();
            prop_assert_eq!(found, numbered);
        }

        #[test]
        fn no_bytes_are_too_much(bytes: Vec<u8>) {
            let _ = read(bytes);
        }

        #[test]
        fn a_block_that_is_damaged_is_not_read_beyond_its_bounds(
            payloads in proptest::collection::vec(payloads(), 1..20), at: prop::sample::Index, byte: u8,
        ) {
            let records: Vec<Record> = payloads.into_iter().map(|it| record("a/b", it)).collect();
            let mut bytes = written(3, &records);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(found) = read(bytes) {
                prop_assert!(found.iter().all(|(_, it)| it.payload.len() <= 4 * super::super::TAIL_BYTES_MAX));
            }
        }
    }

    #[test]
    fn a_value_takes_a_few_bytes() {
        let mut records = Vec::new();
        for second in 0..60_u64 {
            for tag in 0..100_u64 {
                let (v, t) = (20.0 + ((second * 7 + tag) % 50) as f64 / 10.0, 1_763_668_800_000);
                let t = t + second * 1000 + (second * tag) % 3;
                let payload = format!("{{\"v\":{v:.1},\"t\":{t},\"q\":\"good\",\"u\":\"Cel\"}}");
                records.push(record(&format!("uns/acme/berlin/press/_raw/tag{tag}"), payload));
            }
        }
        let bytes = written(0, &records).len();
        assert!(bytes < records.len() * 5, "{bytes} bytes for {} records", records.len());
    }

    #[test]
    fn another_version_is_named() {
        assert_eq!(read(vec![9, 0, 0, 0]), Err(Damaged::Version(9)));
        assert_eq!(read(Vec::new()), Err(Damaged::Shape));
    }
}
