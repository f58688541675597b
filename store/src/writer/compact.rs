//! Empties segments that few places refer to, so that the log stays in proportion to what lives.
//!
//! The bodies that are still wanted are written anew at the end of the log; the next checkpoint
//! then finds the segment unused. Between two batches a few records are looked at. A segment is worth
//! it when less than a quarter of it lives, so the log takes at most about four times the bytes of
//! the bodies that are queued, and what came since the last checkpoint.

use crate::base::Base;
use crate::log::{Log, Scan, add_living};
use crate::plan::Plan;
use crate::view::View;
use std::collections::BTreeSet;

/// A segment is emptied when what lives in it, times this, is less than its size.
const WORTH_FACTOR: u64 = 4;

/// So many bytes of records are looked at between two batches, and at least one record.
const STEP_BYTES: u64 = 256 << 10;

#[derive(Debug, Default)]
pub(super) struct Compaction {
    scan: Option<Scan>,
    /// Segments gone through: the next checkpoint removes them, or they hold what nobody can read.
    tried: BTreeSet<u64>,
}

impl Compaction {
    pub(super) fn is_due(&self) -> bool {
        self.scan.is_some()
    }

    /// Looks for a segment worth emptying, when none is being emptied.
    pub(super) fn choose(&mut self, log: &Log, base: &Base) {
        self.tried.retain(|id| log.segments().contains_key(id));
        if self.scan.is_some() {
            return;
        }
        let sealed = log.segments().range(..base.checkpoint.segment);
        for (id, segment) in sealed.filter(|(id, _)| !self.tried.contains(id)) {
            let bytes = base.living.get(id).map_or(0, |(_, bytes)| *bytes);
            let size = segment.file.len().unwrap_or(0);
            if bytes.saturating_mul(WORTH_FACTOR) < size {
                self.scan = Scan::new(*id, segment, log.store()).ok();
                return;
            }
        }
    }

    /// What of the next records still lives, to be written anew.
    pub(super) fn next(&mut self, view: &View) -> Result<Plan, redb::Error> {
        let mut moved = Plan::default();
        let Some(scan) = &mut self.scan else { return Ok(moved) };
        let until = scan.offset() + STEP_BYTES;
        while scan.offset() < until {
            match scan.next() {
                Ok(Some((plan, bodies))) => add_living(&plan, &bodies, view, &mut moved)?,
                ended => {
                    if let Err(error) = ended {
                        let segment = scan.id;
                        tracing::warn!(segment, %error, "cannot read a segment of the log");
                    }
                    self.tried.insert(scan.id);
                    self.scan = None;
                    break;
                }
            }
        }
        Ok(moved)
    }

    pub(super) fn give_up(&mut self) {
        self.scan = None;
    }
}
