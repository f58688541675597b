//! Opens the log and replays what came after the last checkpoint.
//!
//! Only the end of the last segment can be torn, because a segment is on disk before the next one
//! begins. What is torn there was never acknowledged as being on disk, and is cut off. A bad frame
//! anywhere else, or one that a later frame shows to have been on disk, is damage: the store does
//! not open, and says where.

use super::frame::{self, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::moved::{Moved, is_moved, name};
use super::record;
use super::{Log, Position, Segment, Segments, locations, new_segment};
use crate::error::OpenError;
use crate::medium::Medium;
use crate::plan::Plan;
use crate::queue::Location;
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use tracing::{error, info};

/// An open log.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) log: Log,
    /// Records that came after the checkpoint.
    pub(crate) records: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Bytes of a torn end that were cut off.
    pub(crate) cut_bytes: u64,
    /// Segments that places refer to and that are not there.
    pub(crate) missing: Vec<u64>,
}

/// Opens the log, hands every record from the checkpoint on to `replay`, and stands at its end.
/// `living` are the segments before the checkpoint that are still referred to.
pub(crate) fn recover(
    medium: &Arc<dyn Medium>,
    store: u64,
    from: Position,
    living: &[u64],
    replay: impl FnMut(Plan, &[Location]),
) -> Result<Recovered, OpenError> {
    let path = medium.path();
    let recovery = Recovery { medium: &**medium, store, records: 0, bytes: 0, cut_bytes: 0 };
    recovery.run(from, living, replay, medium).map_err(|failed| match failed {
        Failed::Io(source) => OpenError::Io { path: path.to_owned(), source },
        Failed::Damaged(reason) => OpenError::Damaged { path: path.to_owned(), reason },
    })
}

enum Failed {
    Io(io::Error),
    Damaged(String),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn damaged<T>(reason: impl Into<String>) -> Result<T, Failed> {
    Err(Failed::Damaged(reason.into()))
}

struct Recovery<'a> {
    medium: &'a dyn Medium,
    store: u64,
    records: u64,
    bytes: u64,
    cut_bytes: u64,
}

/// A segment of the tail: its number, its file, and the record it begins with.
type Tail = (u64, Arc<Segment>, u64);

impl Recovery<'_> {
    fn run(
        mut self,
        from: Position,
        living: &[u64],
        mut replay: impl FnMut(Plan, &[Location]),
        medium: &Arc<dyn Medium>,
    ) -> Result<Recovered, Failed> {
        let (mut segments, missing) = self.before(from.segment, living)?;
        let tail = self.tail(from)?;
        let mut end = from;
        for (index, (id, segment, first_record)) in tail.iter().enumerate() {
            if *id != from.segment {
                if *first_record > end.record {
                    let (have, want) = (*first_record, end.record);
                    return damaged(format!("segment {id} begins with record {have}, not {want}"));
                }
                let offset = SEGMENT_HEADER_BYTES as u64;
                end = Position { segment: *id, offset, record: *first_record };
            }
            let next = tail.get(index + 1).map(|(_, _, first_record)| *first_record);
            end = self.replay_segment(segment, end, next, &mut replay)?;
            segments.insert(*id, Arc::clone(segment));
        }
        let Some((_, current, _)) = tail.into_iter().next_back() else {
            return damaged("the log has no segment");
        };
        // What a killed process has handed over may not be on disk yet; from here on it counts.
        current.file.sync()?;
        let log = Log {
            medium: Arc::clone(medium),
            store: self.store,
            moved: Moved::after(&segments),
            segments: Arc::new(segments),
            current,
            end,
            synced: end.record - 1,
            failed: None,
            buffer: Vec::new(),
            appended_bytes: 0,
        };
        let Self { records, bytes, cut_bytes, .. } = self;
        Ok(Recovered { log, records, bytes, cut_bytes, missing })
    }

    /// The segments before the checkpoint that are still needed, and all of moved bodies; the others are removed.
    /// Which of the moved bodies are needed, the next checkpoint tells: records after this one may refer to them.
    fn before(&self, checkpoint: u64, living: &[u64]) -> Result<(Segments, Vec<u64>), Failed> {
        let mut segments = Segments::new();
        let is_before = |id: &u64| *id < checkpoint || is_moved(*id);
        for id in self.medium.segments()?.into_iter().filter(is_before) {
            if living.contains(&id) || is_moved(id) {
                let segment = Segment { file: self.medium.open_segment(id)? };
                segments.insert(id, Arc::new(segment));
            } else {
                self.medium.remove_segment(id)?;
            }
        }
        let is_missing = |id: &u64| is_before(id) && !segments.contains_key(id);
        let missing: Vec<u64> = living.iter().copied().filter(is_missing).collect();
        for segment in &missing {
            error!("{} is missing, its messages cannot be read", name(*segment));
        }
        Ok((segments, missing))
    }

    /// The segments from the checkpoint on, none missing; made when the log is new.
    fn tail(&self, from: Position) -> Result<Vec<Tail>, Failed> {
        let mut tail: Vec<Tail> = Vec::new();
        let ids = self.medium.segments()?;
        let is_after = |id: &u64| *id >= from.segment && !is_moved(*id);
        let ids: Vec<u64> = ids.into_iter().filter(is_after).collect();
        for (index, id) in ids.iter().enumerate() {
            let expected = from.segment + index as u64;
            if *id != expected {
                return damaged(format!("segment {expected} of the log is missing"));
            }
            let file = self.medium.open_segment(*id)?;
            match self.header(&*file)? {
                Some(header) if header.store == self.store && header.segment == *id => {
                    tail.push((*id, Arc::new(Segment { file }), header.first_record));
                }
                Some(_) => return damaged(format!("segment {id} is of another store")),
                // The node died while it began this one; nothing was in it yet.
                None if index + 1 == ids.len() && !self.has_records(&*file)? => {
                    info!(segment = *id, "removing a segment that was never begun");
                    self.medium.remove_segment(*id)?;
                }
                None => return damaged(format!("segment {id} has no valid beginning")),
            }
        }
        if tail.is_empty() {
            if from.offset != SEGMENT_HEADER_BYTES as u64 {
                return damaged(format!("segment {} of the log is missing", from.segment));
            }
            let segment = new_segment(self.medium, self.store, from.segment, from.record)?;
            tail.push((from.segment, Arc::new(segment), from.record));
        }
        Ok(tail)
    }

    fn header(
        &self,
        file: &dyn crate::medium::SegmentFile,
    ) -> Result<Option<SegmentHeader>, Failed> {
        let mut head = [0; SEGMENT_HEADER_BYTES];
        if file.len()? < head.len() as u64 {
            return Ok(None);
        }
        file.read_at(0, &mut head)?;
        Ok(SegmentHeader::decode(&head))
    }

    fn has_records(&self, file: &dyn crate::medium::SegmentFile) -> Result<bool, Failed> {
        let bytes = read(file, 0)?;
        let mut starts = 0..bytes.len();
        Ok(starts.any(|at| frame::decode(&bytes[at..], self.store).is_some()))
    }

    /// Replays one segment from `at` on; `next` is the first record of the segment after it.
    fn replay_segment(
        &mut self,
        segment: &Segment,
        mut at: Position,
        next: Option<u64>,
        replay: &mut impl FnMut(Plan, &[Location]),
    ) -> Result<Position, Failed> {
        let id = at.segment;
        let bytes = read(&*segment.file, at.offset)?;
        let start = at.offset;
        loop {
            let here = (at.offset - start) as usize;
            let rest = &bytes[here..];
            // What the next segment begins with has failed in this one.
            if next == Some(at.record) || (next.is_none() && rest.is_empty()) {
                return Ok(at);
            }
            let found = frame::decode(rest, self.store).filter(|it| it.record == at.record);
            let Some(frame) = found else {
                let is_acknowledged =
                    next.is_some() || frame::shows_synced(rest, self.store, at.record);
                if is_acknowledged {
                    let (offset, record) = (at.offset, at.record);
                    return damaged(format!(
                        "segment {id} of the log is bad at byte {offset}: record {record}, which was acknowledged, \
                         cannot be read"
                    ));
                }
                info!(segment = id, bytes = rest.len(), "cutting off the torn end of the log");
                self.cut_bytes = rest.len() as u64;
                segment.file.set_len(at.offset)?;
                return Ok(at);
            };
            let length = frame::FRAME_HEADER_BYTES + frame.payload.len();
            let payload = bytes.slice(here + frame::FRAME_HEADER_BYTES..here + length);
            let Some((plan, bodies)) = record::decode(&payload) else {
                return damaged(format!("record {} of the log is malformed", at.record));
            };
            let payload_offset = at.offset + frame::FRAME_HEADER_BYTES as u64;
            replay(plan, &locations(&bodies, id, payload_offset)?);
            self.records += 1;
            self.bytes += length as u64;
            at.offset += length as u64;
            at.record += 1;
        }
    }
}

/// All of a file from `offset` on.
fn read(file: &dyn crate::medium::SegmentFile, offset: u64) -> Result<Bytes, Failed> {
    let Some(length) = file.len()?.checked_sub(offset) else {
        return damaged("a segment of the log is shorter than its checkpoint says");
    };
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_at(offset, &mut bytes)?;
    Ok(Bytes::from(bytes))
}
