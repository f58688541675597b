//! Shipments: what one publication on `edges/<edge>/uplink` carries.
//!
//! `[kind u8][epoch u64, big endian]`, then a block of records, or the numbers of records that will never come:
//! `[reason u8][first][count][oldest ms][newest ms]`, or nothing: a question which numbers are there, answered on
//! `edges/<edge>/uplink/known`.

use super::SHIPMENT_RECORDS_MAX;
use super::block::{BlockReader, Damaged};
use super::ranges::{Range, Ranges};
use crate::value::TimestampMs;
use crate::varint::{byte, get, put};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Which records travel first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Those of now.
    Live,
    /// Those that waited; newer ones of their topics may have arrived.
    Backfill,
}

/// Why records will never come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapReason {
    /// What waited was at its bound in bytes.
    Bytes,
    /// They had waited as long as they may.
    Age,
    /// They could not be kept, or not be read again.
    Store,
}

/// One publication.
#[derive(Debug)]
pub enum Shipment {
    /// The first of a connection: which numbers has the hub?
    Hello {
        /// Of which life of the edge node's data folder.
        epoch: u64,
    },
    /// Records.
    Records {
        /// Of which life of the edge node's data folder.
        epoch: u64,
        /// Which way they took.
        lane: Lane,
        /// Themselves.
        block: BlockReader,
    },
    /// Numbers whose records are lost.
    Gap {
        /// Of which life of the edge node's data folder.
        epoch: u64,
        /// Which.
        range: Range,
        /// Why.
        reason: GapReason,
        /// When the first of them was published.
        oldest: TimestampMs,
        /// When the last of them was published, at most.
        newest: TimestampMs,
    },
}

const LIVE: u8 = 1;
const BACKFILL: u8 = 2;
const GAP: u8 = 3;
const HELLO: u8 = 4;

/// What the hub answers to [`Shipment::Hello`], as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Of which life.
    pub epoch: u64,
    /// The numbers that it has, or is never to get.
    pub numbers: Ranges,
}

impl GapReason {
    /// Its name in events and figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bytes => "queue_full",
            Self::Age => "too_old",
            Self::Store => "store",
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Bytes => 1,
            Self::Age => 2,
            Self::Store => 3,
        }
    }
}

impl Shipment {
    /// The payload that asks which numbers the hub has.
    pub fn hello(epoch: u64) -> Vec<u8> {
        let mut out = vec![HELLO];
        out.extend_from_slice(&epoch.to_be_bytes());
        out
    }

    /// The payload that carries a finished block.
    pub fn of_block(epoch: u64, lane: Lane, block: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(block.len() + 9);
        out.push(match lane {
            Lane::Live => LIVE,
            Lane::Backfill => BACKFILL,
        });
        out.extend_from_slice(&epoch.to_be_bytes());
        out.extend_from_slice(block);
        out
    }

    /// The payload that says which records are lost.
    pub fn of_gap(epoch: u64, range: Range, reason: GapReason, times: [TimestampMs; 2]) -> Vec<u8> {
        let mut out = vec![GAP];
        out.extend_from_slice(&epoch.to_be_bytes());
        out.push(reason.code());
        put(range.first, &mut out);
        put(range.len(), &mut out);
        times.iter().for_each(|time| put(time.0, &mut out));
        out
    }

    /// Reads a payload.
    pub fn parse(payload: &Bytes) -> Result<Self, Damaged> {
        let mut input = &payload[..];
        let kind = byte(&mut input).ok_or(Damaged::Shape)?;
        let (epoch, rest) = input.split_first_chunk().ok_or(Damaged::Shape)?;
        let epoch = u64::from_be_bytes(*epoch);
        let lane = match kind {
            LIVE => Lane::Live,
            BACKFILL => Lane::Backfill,
            HELLO if rest.is_empty() => return Ok(Self::Hello { epoch }),
            GAP => return parse_gap(epoch, rest).ok_or(Damaged::Shape),
            _ => return Err(Damaged::Shape),
        };
        let block = BlockReader::open(payload.slice(payload.len() - rest.len()..))?;
        if block.range().len() > u64::from(SHIPMENT_RECORDS_MAX) {
            return Err(Damaged::Shape);
        }
        Ok(Self::Records { epoch, lane, block })
    }
}

fn parse_gap(epoch: u64, mut input: &[u8]) -> Option<Shipment> {
    let reason = match byte(&mut input)? {
        1 => GapReason::Bytes,
        2 => GapReason::Age,
        3 => GapReason::Store,
        _ => return None,
    };
    let first = get(&mut input)?;
    let range = Range { first, end: first.checked_add(get(&mut input)?)? };
    let (oldest, newest) = (TimestampMs(get(&mut input)?), TimestampMs(get(&mut input)?));
    Some(Shipment::Gap { epoch, range, reason, oldest, newest })
}

#[cfg(test)]
mod tests {
    use super::super::{Block, Record};
    use super::*;
    use crate::topic::{Qos, TopicName};
    use proptest::prelude::*;

    #[test]
    fn all_kinds_arrive_as_they_were_sent() {
        let hello = Shipment::parse(&Bytes::from(Shipment::hello(5)));
        assert!(matches!(hello, Ok(Shipment::Hello { epoch: 5 })));
        assert!(Shipment::parse(&Bytes::from_static(b"\x04\0\0\0\0\0\0\0\0!")).is_err());
        let mut block = Block::new(9, TimestampMs(5));
        let topic = TopicName::parse("a").unwrap();
        let payload = Bytes::from_static(b"x");
        let (qos, properties) = (Qos::AtMostOnce, Bytes::new());
        let record = Record { topic, payload, qos, retain: false, properties };
        block.push(&record);
        let sent = Shipment::of_block(77, Lane::Backfill, &block.finish());
        let Ok(Shipment::Records { epoch: 77, lane: Lane::Backfill, mut block }) =
            Shipment::parse(&Bytes::from(sent))
        else {
            panic!("no records")
        };
        assert_eq!((block.at(), block.next()), (TimestampMs(5), Some(Ok((9, record)))));
        assert_eq!(block.next(), None);

        let range = Range { first: 3, end: 8 };
        let sent = Shipment::of_gap(7, range, GapReason::Age, [TimestampMs(1), TimestampMs(2)]);
        let found = Shipment::parse(&Bytes::from(sent));
        let Ok(Shipment::Gap { epoch: 7, range: found, reason, oldest, newest }) = found else {
            panic!("no gap")
        };
        assert_eq!((found, reason), (range, GapReason::Age));
        assert_eq!((oldest, newest), (TimestampMs(1), TimestampMs(2)));
    }

    proptest! {
        #[test]
        fn no_payload_is_too_much(bytes: Vec<u8>) {
            let _ = Shipment::parse(&Bytes::from(bytes));
        }
    }
}
