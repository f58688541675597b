//! Walks the records of one segment for the places that its bodies came for.

use super::frame::{self, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES};
use super::{Segment, locations, record};
use crate::plan::{PlaceChange, Plan};
use crate::queue::Location;
use bytes::Bytes;
use std::io;
use std::sync::Arc;

/// A walk through the records of one segment.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) id: u64,
    segment: Arc<Segment>,
    store: u64,
    offset: u64,
    end: u64,
}

impl Scan {
    pub(crate) fn new(id: u64, segment: &Arc<Segment>, store: u64) -> io::Result<Self> {
        let end = segment.file.len()?;
        let offset = SEGMENT_HEADER_BYTES as u64;
        Ok(Self { id, segment: Arc::clone(segment), store, offset, end })
    }

    /// How far the walk has come.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next record and where its bodies are; `None` at the end, or at a frame that is bad.
    pub(crate) fn next(&mut self) -> io::Result<Option<(Plan, Vec<Location>)>> {
        if self.end - self.offset < FRAME_HEADER_BYTES as u64 {
            return Ok(None);
        }
        let mut head = [0; 4];
        self.segment.file.read_at(self.offset, &mut head)?;
        let length = FRAME_HEADER_BYTES as u64 + u64::from(u32::from_le_bytes(head));
        if length > self.end - self.offset {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.segment.file.read_at(self.offset, &mut bytes)?;
        if frame::decode(&bytes, self.store).is_none() {
            return Ok(None);
        }
        let payload = Bytes::from(bytes).slice(FRAME_HEADER_BYTES..);
        let Some((plan, bodies)) = record::decode(&payload) else { return Ok(None) };
        let bodies = locations(&bodies, self.id, self.offset + FRAME_HEADER_BYTES as u64)?;
        self.offset += length;
        Ok(Some((plan, bodies)))
    }
}

/// The places that one record put, with the index of the body of each.
pub(crate) fn puts(plan: &Plan) -> impl Iterator<Item = (crate::queue::PlaceKey, usize)> + '_ {
    plan.places.iter().filter_map(|step| match step.what {
        PlaceChange::Put { body, .. } => Some((step.at, body)),
        _ => None,
    })
}
