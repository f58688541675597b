//! Walks the records of one segment for the places that its bodies came for.

use super::frame::{self, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::{Segment, locations, record};
use crate::plan::{PlaceChange, PlaceStep, Plan};
use crate::queue::Location;
use crate::view::View;
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

    /// A walk through a segment whose store is the one that it says; `None` if it does not begin as a segment.
    pub(crate) fn of_file(id: u64, segment: &Arc<Segment>) -> io::Result<Option<Self>> {
        let mut head = [0; SEGMENT_HEADER_BYTES];
        match segment.file.read_at(0, &mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        match SegmentHeader::decode(&head) {
            Some(SegmentHeader { store, .. }) => Self::new(id, segment, store).map(Some),
            None => Ok(None),
        }
    }

    /// The next record of a segment that may be written to, and cut, meanwhile.
    pub(crate) fn next_or_end(&mut self) -> io::Result<Option<(Plan, Vec<Location>)>> {
        match self.next() {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            other => other,
        }
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
fn puts(plan: &Plan) -> impl Iterator<Item = (crate::queue::PlaceKey, usize)> + '_ {
    plan.places.iter().filter_map(|step| match step.what {
        PlaceChange::Put { body, .. } => Some((step.at, body)),
        _ => None,
    })
}

/// Bodies that still live, with the places that they are for.
#[derive(Debug, Default)]
pub(crate) struct Living {
    pub(crate) plan: Plan,
    /// Where each of the bodies is.
    pub(crate) from: Vec<Location>,
}

/// Adds to `living` what of one record still lives.
pub(crate) fn living_of(
    plan: &Plan,
    bodies: &[Location],
    view: &View,
    living: &mut Living,
) -> Result<(), redb::Error> {
    let moved = &mut living.plan;
    let mut indices = vec![None; bodies.len()];
    for (at, body) in puts(plan) {
        let Some(Ok(place)) = view.place(at)? else { continue };
        if place.body != bodies[body] {
            continue;
        }
        let index = *indices[body].get_or_insert_with(|| {
            moved.bodies.push(plan.bodies[body].clone());
            living.from.push(bodies[body]);
            moved.bodies.len() - 1
        });
        let (flags, expires_at_ms) = (place.flags, place.expires_at_ms);
        let what = PlaceChange::Put { body: index, flags, expires_at_ms };
        moved.places.push(PlaceStep { at, what });
    }
    Ok(())
}
