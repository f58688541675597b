//! Empties segments that few places refer to, so that the log stays in proportion to what lives.
//!
//! The bodies that are still wanted are written to a segment of such; the next checkpoint then finds the emptied one
//! unused. Between two batches a few records are looked at. A segment is worth it when less than half of it lives, so
//! the log takes at most about twice the bytes of the bodies that are queued, and what came since the last checkpoint.

use crate::base::Base;
use crate::log::{Living, Log, MOVED, Scan, living_of, name};
use crate::plan::{PlaceChange, PlaceStep, Plan};
use crate::queue::{Location, Place, PlaceKey};
use crate::view::View;
use std::collections::BTreeSet;

/// A segment is emptied when what lives in it, times this, is less than its size.
const WORTH_FACTOR: u64 = 2;

/// So many bytes of records are looked at between two batches, and at least one record.
const STEP_BYTES: u64 = 256 << 10;

/// So many bytes of bodies are brought to the disk at once, or so many places have to refer to them: commits wait
/// meanwhile.
const ROUND_BYTES: u64 = 1 << 20;
const ROUND_PLACES: usize = 2000;

#[derive(Debug, Default)]
pub(super) struct Compaction {
    scan: Option<Scan>,
    /// Segments gone through: the next checkpoint removes them, or they hold what nobody can read.
    tried: BTreeSet<u64>,
    /// Written, and to be referred to once it is on the disk.
    written: Vec<Relocation>,
    written_bytes: u64,
}

/// A body that lies in two places for now, and one that refers to it.
#[derive(Debug, Clone, Copy)]
struct Relocation {
    at: PlaceKey,
    from: Location,
    to: Location,
    share: u32,
}

impl Compaction {
    pub(super) fn is_due(&self) -> bool {
        self.scan.is_some() || !self.written.is_empty()
    }

    /// Looks for a segment worth emptying, when none is being emptied. Segments of moved bodies from `moved_below` on
    /// are not counted yet.
    pub(super) fn choose(&mut self, log: &Log, base: &Base, moved_below: u64) {
        self.tried.retain(|id| log.segments().contains_key(id));
        if self.scan.is_some() {
            return;
        }
        let segments = log.segments();
        let sealed = segments.range(..base.checkpoint.segment);
        let moved = segments.range(MOVED..moved_below.max(MOVED));
        for (id, segment) in sealed.chain(moved).filter(|(id, _)| !self.tried.contains(id)) {
            let bytes = base.living.get(id).map_or(0, |(_, bytes)| *bytes);
            let size = segment.file.len().unwrap_or(0);
            if bytes.saturating_mul(WORTH_FACTOR) < size {
                self.scan = Scan::new(*id, segment, log.store()).ok();
                return;
            }
        }
    }

    /// What of the next records still lives, to be written anew.
    pub(super) fn next(&mut self, view: &View) -> Result<Living, redb::Error> {
        let mut living = Living::default();
        let Some(scan) = &mut self.scan else { return Ok(living) };
        let until = scan.offset() + STEP_BYTES;
        while scan.offset() < until {
            match scan.next() {
                Ok(Some((plan, bodies))) => living_of(&plan, &bodies, view, &mut living)?,
                ended => {
                    if let Err(error) = ended {
                        tracing::warn!(%error, "cannot read {}", name(scan.id));
                    }
                    self.tried.insert(scan.id);
                    self.scan = None;
                    break;
                }
            }
        }
        Ok(living)
    }

    /// Bodies were written anew, `to` there.
    pub(super) fn has_written(&mut self, living: &Living, to: &[Location]) {
        let refs = living.plan.body_refs();
        for step in &living.plan.places {
            if let PlaceChange::Put { body, .. } = step.what {
                let (from, to) = (living.from[body], to[body]);
                let share = to.bytes / refs[body];
                self.written.push(Relocation { at: step.at, from, to, share });
            }
        }
        self.written_bytes += to.iter().map(|it| u64::from(it.bytes)).sum::<u64>();
    }

    /// Whether enough was written to be referred to, or all of the segment.
    pub(super) fn is_round_over(&self) -> bool {
        let is_much = self.written_bytes >= ROUND_BYTES || self.written.len() >= ROUND_PLACES;
        is_much || (self.scan.is_none() && !self.written.is_empty())
    }

    /// Has the places refer to what is on the disk by now, but for those that are gone.
    pub(super) fn relocated(&mut self, view: &View) -> Result<Plan, redb::Error> {
        let mut plan = Plan::default();
        self.written_bytes = 0;
        for Relocation { at, from, to, share } in self.written.drain(..) {
            match view.place(at)? {
                Some(Ok(place)) if place.body == from => {
                    let what = PlaceChange::Set(Place { body: to, share, ..place });
                    plan.places.push(PlaceStep { at, what });
                }
                _ => {}
            }
        }
        Ok(plan)
    }

    /// Leaves a segment as it is; what was written of it is not referred to.
    pub(super) fn give_up(&mut self) {
        self.scan = None;
        self.written.clear();
        self.written_bytes = 0;
    }
}
