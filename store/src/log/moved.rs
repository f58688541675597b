//! Segments of moved bodies: where compaction writes what still lives of a segment that it empties.
//!
//! They are apart from the records of the log. Whoever waits long in a queue lies there among others that do, and is
//! not moved again with every segment that the traffic of the moment fills. Each has the form of a segment of the
//! log, frames with the places that the bodies came for, so that it can be emptied in the same way; nothing of it is
//! replayed. Bodies are on the disk before the log says that places refer to them.

use super::frame::SEGMENT_HEADER_BYTES;
use super::{Segment, Segments, frame, locations, new_segment, record};
use crate::medium::Medium;
use crate::plan::Plan;
use crate::queue::Location;
use std::io;
use std::sync::Arc;

/// Numbers from here on are of segments of moved bodies; those of the log never get there.
pub(crate) const MOVED: u64 = 1 << 63;

/// Whether a segment is one of moved bodies.
pub(crate) fn is_moved(segment: u64) -> bool {
    segment >= MOVED
}

/// What a segment is called.
pub(crate) fn name(segment: u64) -> String {
    match is_moved(segment) {
        true => format!("segment {} of moved bodies", segment - MOVED),
        false => format!("segment {segment} of the log"),
    }
}

/// Where the next moved bodies go.
#[derive(Debug)]
pub(crate) struct Moved {
    /// The segment that is written to, and where in it.
    current: Option<(Arc<Segment>, u64)>,
    /// Its number, or that of the next one.
    id: u64,
    /// The number of its next frame.
    record: u64,
    is_synced: bool,
}

impl Moved {
    /// Goes on after the segments that are there, in one of its own.
    pub(super) fn after(segments: &Segments) -> Self {
        let last = segments.last_key_value().map(|(id, _)| *id).filter(|id| is_moved(*id));
        Self { current: None, id: last.map_or(MOVED, |id| id + 1), record: 1, is_synced: true }
    }

    /// All segments below this number are as they will stay.
    pub(super) fn sealed_below(&self) -> u64 {
        self.id
    }

    /// Whether the next bodies go to a new segment.
    pub(super) fn is_full(&self, segment_bytes: u64) -> bool {
        self.current.as_ref().is_none_or(|(_, offset)| *offset >= segment_bytes)
    }

    /// Appends the bodies of a plan, with the places that they are for; answers where they are. After an error the
    /// segment is left behind.
    pub(super) fn append(
        &mut self,
        (medium, store): (&dyn Medium, u64),
        plan: &Plan,
        segment_bytes: u64,
        segments: &mut Arc<Segments>,
    ) -> io::Result<Vec<Location>> {
        if self.is_full(segment_bytes) {
            self.leave();
            let segment = Arc::new(new_segment(medium, store, self.id, self.record)?);
            Arc::make_mut(segments).insert(self.id, Arc::clone(&segment));
            self.current = Some((segment, SEGMENT_HEADER_BYTES as u64));
        }
        let Some((segment, offset)) = &mut self.current else { return Ok(Vec::new()) };
        let mut buffer = Vec::new();
        let numbers = (self.record, self.record - 1);
        let bodies = frame::encode(&mut buffer, store, numbers, |out| record::encode(plan, out));
        let bodies = bodies.ok_or_else(|| io::Error::other("a record of more than 4 GiB"))?;
        let found = locations(&bodies, self.id, *offset)?;
        self.is_synced = false;
        if let Err(error) = segment.file.write_at(*offset, &buffer) {
            self.leave();
            return Err(error);
        }
        *offset += buffer.len() as u64;
        self.record += 1;
        Ok(found)
    }

    /// Brings what was appended to the disk. After an error nothing of it counts.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if let Some((segment, _)) = self.current.as_ref().filter(|_| !self.is_synced)
            && let Err(error) = segment.file.sync()
        {
            self.leave();
            return Err(error);
        }
        self.is_synced = true;
        Ok(())
    }

    /// Writes no more to the segment.
    fn leave(&mut self) {
        if self.current.take().is_some() {
            self.id += 1;
        }
        self.record = 1;
        self.is_synced = true;
    }
}
