//! Reads the records that wait, in the order of their numbers, a shipment at a time.

use super::shelf::{Kept, State};
use super::tape::Tape;
use proto::uplink::{Block, BlockReader, Range, Record};
use store::Store;

/// The most of one shipment.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShipmentMax {
    pub(super) records: u64,
    pub(super) bytes: usize,
}

/// What comes next.
pub(super) enum Next {
    /// A block to send.
    Shipment(Block),
    /// Numbers that cannot be read any more.
    Lost(Range),
    /// Nothing now.
    Nothing,
}

/// A place in the numbers.
pub(super) struct Cursor {
    next: u64,
    /// Up to which number it goes; without, on and on.
    end: Option<u64>,
    open: Option<Open>,
}

/// The block that is being read.
struct Open {
    kept: Kept,
    reader: BlockReader,
    /// Read, and not yet taken.
    ahead: Option<(u64, Record)>,
}

impl Cursor {
    pub(super) fn new(next: u64, end: Option<u64>) -> Self {
        Self { next, end, open: None }
    }

    /// Whether it has come to its end.
    pub(super) fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }

    /// Whether something is due.
    pub(super) fn has_more(&self, tape: &Tape) -> bool {
        !self.is_done() && self.due(tape).is_some()
    }

    /// Where it is.
    pub(super) fn at(&self) -> u64 {
        self.next
    }

    /// The next shipment. What the hub has is passed over.
    pub(super) fn read(&mut self, tape: &Tape, store: &Store, max: ShipmentMax) -> Next {
        let mut block: Option<Block> = None;
        while !self.is_done() {
            let Some(range) = self.due(tape) else { break };
            if block.as_ref().is_some_and(|block| block.range().end != range.first) {
                break;
            }
            self.next = range.first;
            if let Err(kept) = self.open(tape, store) {
                if block.is_some() {
                    break;
                }
                return kept.map_or(Next::Nothing, |_| self.lost(range.end));
            }
            let Some(open) = &mut self.open else { break };
            let at = open.kept.row.at;
            let block = block.get_or_insert_with(|| Block::new(range.first, at));
            let end = range.end.min(range.first + (max.records - block.len()));
            while self.next < end && block.bytes() < max.bytes {
                match open.take(self.next) {
                    Some(record) => block.push(&record),
                    None => break,
                }
                self.next += 1;
            }
            if open.kept.row.range.end <= self.next || open.ahead.is_none() {
                self.open = None;
            }
            if block.is_empty() {
                return self.lost(range.end);
            }
            if block.len() >= max.records || block.bytes() >= max.bytes {
                break;
            }
        }
        match block {
            Some(block) if !block.is_empty() => Next::Shipment(block),
            _ => Next::Nothing,
        }
    }

    /// Passes over what cannot be read.
    fn lost(&mut self, end: u64) -> Next {
        let range = Range { first: self.next, end };
        self.next = end;
        self.open = None;
        Next::Lost(range)
    }

    /// The next numbers that are due and lie in one block.
    fn due(&self, tape: &Tape) -> Option<Range> {
        let shelf = tape.shelf();
        let mut from = self.next;
        loop {
            let kept = shelf.find(from)?.row.range;
            let from_here = from.max(kept.first);
            let end = self.end.map_or(kept.end, |end| end.min(kept.end));
            match shelf.acked().first_gap(from_here, end) {
                Some(gap) => return Some(gap),
                None if self.end.is_some_and(|end| kept.end >= end) => return None,
                None => from = kept.end,
            }
        }
    }

    /// Has the block with the next number open; else which block cannot be read, if it is that. One that cannot be
    /// read just now is news later.
    fn open(&mut self, tape: &Tape, store: &Store) -> Result<(), Option<Kept>> {
        let next = self.next;
        let is_it = |open: &Open| {
            let range = open.kept.row.range;
            range.first <= next
                && next < range.end
                && open.ahead.as_ref().is_some_and(|it| it.0 <= next)
        };
        if self.open.as_ref().is_some_and(is_it) {
            return Ok(());
        }
        let kept = tape.shelf().find(next).ok_or(None)?;
        let read = store.read().and_then(|it| it.queue(tape.queue(), kept.seq - 1, 1, usize::MAX));
        let body = match read {
            Ok(found) => found.into_iter().next().filter(|it| it.seq == kept.seq).map(|it| it.body),
            Err(store::ReadError::Unreadable { .. }) => None,
            // Another time, perhaps.
            Err(_) => return Err(None),
        };
        let Some(reader) = body.and_then(|body| BlockReader::open(body).ok()) else {
            // One that is being packed is gone from its place before the shelf knows where it is.
            let is_moving = kept.state == State::Packing || tape.shelf().find(next) != Some(kept);
            return Err((!is_moving).then_some(kept));
        };
        let mut open = Open { kept, reader, ahead: None };
        open.ahead = open.reader.next().and_then(Result::ok);
        if open.ahead.is_none() {
            return Err(Some(kept));
        }
        self.open = Some(open);
        Ok(())
    }
}

impl Open {
    /// The record with a number; `None` if the rest of the block is damaged.
    fn take(&mut self, number: u64) -> Option<Record> {
        loop {
            let (at, record) = self.ahead.take()?;
            self.ahead = self.reader.next().and_then(Result::ok);
            if at == number {
                return Some(record);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uplink::settings::UplinkSettings;
    use broker::{Recorded, Recorder};
    use bytes::Bytes;
    use proto::{Clock, EdgeId, Namespace, Qos, TimestampMs, TopicName};
    use std::sync::Arc;
    use store::Changes;

    struct Noon;

    impl Clock for Noon {
        fn now(&self) -> TimestampMs {
            TimestampMs(43_200_000)
        }
    }

    /// A tape with so many blocks of one record.
    async fn taped(store: &Store, blocks: usize) -> Tape {
        let namespace = Namespace::parse("acme/berlin").unwrap();
        let remote = serde_json::json!({ "url": "mqtt://127.0.0.1", "client_id": "press" });
        let settings = UplinkSettings {
            remote: serde_json::from_value(remote).unwrap(),
            enrolment: None,
            namespace: namespace.clone(),
            filters: Vec::new(),
            bytes_max: u64::MAX,
            age_ms_max: u64::MAX,
        };
        let edge = EdgeId::parse("press").unwrap();
        let tape = Tape::open(store, &namespace, &edge, &settings, (Arc::new(Noon), 7)).unwrap();
        let topic = TopicName::parse("uns/acme/_raw/level".to_owned()).unwrap();
        let payload = Bytes::from_static(b"1");
        for _ in 0..blocks {
            let recorded = Recorded {
                topic: &topic,
                payload: &payload,
                qos: Qos::AtLeastOnce,
                retain: true,
                properties: None,
                expires_at: None,
            };
            let mut kept = None;
            let ticket = tape.record(&[recorded], Changes::new(), &mut |changes| {
                kept = Some(store.submit(changes));
            });
            kept.unwrap().await.unwrap();
            tape.settled(ticket, true);
        }
        tape
    }

    /// The commit that packs blocks is there before the shelf knows: what it has moved is not lost.
    #[tokio::test]
    async fn what_is_being_packed_is_read_later_and_not_lost() {
        let store = Store::in_memory().unwrap();
        let tape = taped(&store, 4).await;
        let max = ShipmentMax { records: 100, bytes: 10_000 };
        let parts = tape.shelf().begin_packing(0, (4, 1_000_000));
        assert_eq!(parts.len(), 4);
        let mut whole = Block::new(0, TimestampMs(0));
        let mut all = Cursor::new(0, None);
        let Next::Shipment(block) = all.read(&tape, &store, max) else { panic!("it is there") };
        for record in BlockReader::open(Bytes::from(block.finish())).unwrap() {
            whole.push(&record.unwrap().1);
        }
        let mut changes = Changes::new();
        tape.release(parts[1..].iter().map(|part| part.seq), &mut changes);
        let row = tape.keep(parts[0].seq, whole, TimestampMs(0), &mut changes);
        store.commit(changes).await.unwrap();

        let mut cursor = Cursor::new(2, None);
        assert!(matches!(cursor.read(&tape, &store, max), Next::Nothing));
        tape.shelf().packed(&parts, Some(row));
        let Next::Shipment(block) = cursor.read(&tape, &store, max) else { panic!("it is there") };
        assert_eq!(block.range(), Range { first: 2, end: 4 });
    }

    #[tokio::test]
    async fn what_is_nowhere_is_lost() {
        let store = Store::in_memory().unwrap();
        let tape = taped(&store, 3).await;
        let mut changes = Changes::new();
        tape.release([2], &mut changes);
        store.commit(changes).await.unwrap();
        let max = ShipmentMax { records: 100, bytes: 10_000 };
        let mut cursor = Cursor::new(1, None);
        let Next::Lost(range) = cursor.read(&tape, &store, max) else { panic!("it is gone") };
        assert_eq!(range, Range { first: 1, end: 2 });
        assert!(matches!(cursor.read(&tape, &store, max), Next::Shipment(_)));
    }
}
