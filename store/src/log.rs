//! The log: every batch as one checksummed record, appended to the current segment.
//!
//! The log is the write-ahead log of the rows and the home of the bodies of queued messages. A
//! segment goes when a checkpoint has passed it and no place refers to a body in it; one that few
//! places refer to is emptied by writing their bodies to a segment of such ([`moved`]).

mod frame;
mod moved;
mod record;
mod recover;
mod scan;

pub(crate) use moved::{MOVED, is_moved, name};
pub(crate) use recover::recover;
pub(crate) use scan::{Living, Scan, living_of};

use crate::medium::{Medium, SegmentFile};
use crate::plan::Plan;
use crate::queue::Location;
use bytes::Bytes;
use frame::{SEGMENT_HEADER_BYTES, SegmentHeader};
use moved::Moved;
use record::BodyAt;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// The buffer for a record is given back when it has grown beyond this.
const BUFFER_BYTES_MAX: usize = 16 << 20;

/// One segment of the log.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) file: Arc<dyn SegmentFile>,
}

/// Appends a plan as the payload of a record.
pub(crate) fn encode_record(plan: &Plan, out: &mut Vec<u8>) {
    record::encode(plan, out);
}

/// Reads the payload of a record; `None` when it is none.
pub(crate) fn decode_record(payload: &Bytes) -> Option<Plan> {
    record::decode(payload).map(|(plan, _)| plan)
}

/// The segments that are there, by number.
pub(crate) type Segments = BTreeMap<u64, Arc<Segment>>;

/// A place between two records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    /// The number of the record that begins there.
    pub(crate) record: u64,
}

/// The end of the log, where the writer appends.
#[derive(Debug)]
pub(crate) struct Log {
    medium: Arc<dyn Medium>,
    store: u64,
    segments: Arc<Segments>,
    current: Arc<Segment>,
    moved: Moved,
    end: Position,
    /// The newest record known to be on disk.
    synced: u64,
    failed: Option<Failed>,
    buffer: Vec<u8>,
    appended_bytes: u64,
}

/// What went wrong with the last append and has to be put right before the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failed {
    /// Bytes after the end have to be cut off.
    Write,
    /// Nobody knows what of the segment is on disk after a failed synchronisation: cut, and go on
    /// in another one.
    Sync,
}

impl Position {
    /// The very first one of a new log.
    pub(crate) const START: Self =
        Self { segment: 1, offset: SEGMENT_HEADER_BYTES as u64, record: 1 };
}

impl Log {
    /// Appends one record, to a new segment when the current one has `segment_bytes`, and brings it
    /// to the disk when asked; answers where its bodies are. On an error the record is not in the
    /// log.
    pub(crate) fn append(
        &mut self,
        plan: &Plan,
        sync: bool,
        segment_bytes: u64,
    ) -> io::Result<Vec<Location>> {
        self.mend()?;
        if self.end.offset >= segment_bytes {
            self.roll()?;
        }
        let numbers = (self.end.record, self.synced);
        let bodies =
            frame::encode(&mut self.buffer, self.store, numbers, |out| record::encode(plan, out));
        let bodies = bodies.ok_or_else(|| io::Error::other("a record of more than 4 GiB"))?;
        let locations = locations(&bodies, self.end.segment, self.end.offset)?;
        let written = self.current.file.write_at(self.end.offset, &self.buffer);
        let written = written.map_err(|error| (Failed::Write, error)).and_then(|()| match sync {
            true => self.current.file.sync().map_err(|error| (Failed::Sync, error)),
            false => Ok(()),
        });
        if let Err((failed, error)) = written {
            self.failed = Some(failed);
            // At once if possible: a full disk gets the space back. Else before the next record.
            let _later = self.mend();
            return Err(error);
        }
        if sync {
            self.synced = self.end.record;
        }
        self.end.offset += self.buffer.len() as u64;
        self.end.record += 1;
        self.appended_bytes += self.buffer.len() as u64;
        if self.buffer.capacity() > BUFFER_BYTES_MAX {
            self.buffer = Vec::new();
        }
        Ok(locations)
    }

    /// Brings everything appended so far to the disk.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.mend()?;
        if !self.is_synced() {
            if let Err(error) = self.current.file.sync() {
                self.failed = Some(Failed::Sync);
                return Err(error);
            }
            self.synced = self.end.record - 1;
        }
        Ok(())
    }

    pub(crate) fn is_synced(&self) -> bool {
        self.synced + 1 == self.end.record
    }

    /// Goes on in a new segment, unless the current one is new.
    pub(crate) fn roll(&mut self) -> io::Result<()> {
        if self.end.offset == SEGMENT_HEADER_BYTES as u64 && self.failed.is_none() {
            return Ok(());
        }
        if self.failed.is_none() {
            self.sync()?;
        }
        let id = self.end.segment + 1;
        let segment = match new_segment(&*self.medium, self.store, id, self.end.record) {
            Ok(segment) => segment,
            Err(error) => {
                let _half_made = self.medium.remove_segment(id);
                return Err(error);
            }
        };
        self.current = Arc::new(segment);
        Arc::make_mut(&mut self.segments).insert(id, Arc::clone(&self.current));
        self.end =
            Position { segment: id, offset: SEGMENT_HEADER_BYTES as u64, record: self.end.record };
        self.synced = self.end.record - 1;
        Ok(())
    }

    /// Puts right what a failed append has left.
    fn mend(&mut self) -> io::Result<()> {
        let Some(failed) = self.failed else { return Ok(()) };
        self.current.file.set_len(self.end.offset)?;
        if failed == Failed::Sync {
            self.current.file.sync()?;
            self.roll()?;
        }
        self.failed = None;
        Ok(())
    }

    /// Where the next record will begin.
    pub(crate) fn end(&self) -> Position {
        self.end
    }

    pub(crate) fn segments(&self) -> &Arc<Segments> {
        &self.segments
    }

    pub(crate) fn store(&self) -> u64 {
        self.store
    }

    /// Bytes appended since the log was opened.
    pub(crate) fn appended_bytes(&self) -> u64 {
        self.appended_bytes
    }

    /// Appends bodies to those that were moved; answers where they are. They count once they are on the disk.
    pub(crate) fn append_moved(
        &mut self,
        plan: &Plan,
        segment_bytes: u64,
    ) -> io::Result<Vec<Location>> {
        let of = (&*self.medium, self.store);
        self.moved.append(of, plan, segment_bytes, &mut self.segments)
    }

    /// Brings the moved bodies to the disk.
    pub(crate) fn sync_moved(&mut self) -> io::Result<()> {
        self.moved.sync()
    }

    /// Whether moved bodies go to a new segment next.
    pub(crate) fn is_moved_full(&self, segment_bytes: u64) -> bool {
        self.moved.is_full(segment_bytes)
    }

    /// Segments of moved bodies below this number are as they will stay.
    pub(crate) fn moved_below(&self) -> u64 {
        self.moved.sealed_below()
    }

    /// Removes the segments that `is_dead` says nobody needs; answers how many went.
    pub(crate) fn remove(&mut self, is_dead: impl Fn(u64) -> bool) -> usize {
        let dead = self.segments.keys().copied().filter(|id| *id != self.end.segment);
        let dead: Vec<u64> = dead.filter(|id| is_dead(*id)).collect();
        for id in &dead {
            Arc::make_mut(&mut self.segments).remove(id);
            if let Err(error) = self.medium.remove_segment(*id) {
                // The next opening tries again.
                tracing::warn!(segment = *id, %error, "cannot remove a segment of the log");
            }
        }
        dead.len()
    }
}

/// Makes an empty segment, durably.
fn new_segment(
    medium: &dyn Medium,
    store: u64,
    segment: u64,
    first_record: u64,
) -> io::Result<Segment> {
    let file = medium.create_segment(segment)?;
    file.write_at(0, &SegmentHeader { store, segment, first_record }.encode())?;
    file.sync()?;
    Ok(Segment { file })
}

/// The places in a segment of bodies of a frame that begins at `offset`.
fn locations(bodies: &[BodyAt], segment: u64, offset: u64) -> io::Result<Vec<Location>> {
    let part = |value: u64| u32::try_from(value).map_err(io::Error::other);
    let location = |at: &BodyAt| {
        let offset = part(offset + at.offset as u64)?;
        Ok(Location { segment, offset, bytes: part(at.bytes as u64)?, checksum: at.checksum })
    };
    bodies.iter().map(location).collect()
}
