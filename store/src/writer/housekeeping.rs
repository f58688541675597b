//! What the writer does between batches: checkpoints, synchronisations in time, compaction, and
//! opening a failed storage again.

use super::Writer;
use super::checkpointer::{Job, Outcome};
use super::compact::Compaction;
use crate::base;
use crate::error::{CommitError, OpenError};
use crate::figures::{add, set};
use crate::log::is_moved;
use crate::recent::Recent;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{error, info, warn};

/// A checkpoint is begun when anything is older than this.
const CHECKPOINT_AFTER: Duration = Duration::from_secs(60);
/// While a checkpoint is under way commits go on until there is so many times as much again.
const AHEAD_FACTOR: usize = 2;

/// How long after a failed attempt the storage is opened again at the earliest.
const REOPEN_AFTER: Duration = Duration::from_millis(250);
/// How long after a failed checkpoint the next attempt is made, and while the disk is full, how
/// long after any.
const CHECKPOINT_AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Writer {
    /// How long the writer may sleep when nothing comes.
    pub(super) fn wait_max(&self) -> Option<Duration> {
        let now = Instant::now();
        let left = |due: Instant| due.saturating_duration_since(now);
        let sync = self.sync_due.map(left);
        if self.broken.is_some() {
            return sync.into_iter().chain([REOPEN_AFTER]).min();
        }
        let again = self.failed.as_ref().map(|(_, at)| left(*at + CHECKPOINT_AGAIN_AFTER));
        let compaction = self.is_compaction_due().then_some(Duration::ZERO);
        let checkpoint = (!self.is_checkpointing && self.has_recent())
            .then(|| left(self.checkpointed + self.checkpoint_after()));
        [again, compaction, checkpoint, sync].into_iter().flatten().min()
    }

    pub(super) fn keep_house(&mut self) {
        if self.is_checkpointing
            && let Some(outcome) = self.checkpointer.outcome(false)
        {
            self.end_checkpoint(outcome);
        }
        if self.is_checkpoint_due() {
            self.begin_checkpoint();
        }
        if self.sync_due.is_some_and(|due| due <= Instant::now()) {
            self.sync();
        }
        if self.is_compaction_due() {
            self.compact();
        }
    }

    fn is_compaction_due(&self) -> bool {
        self.compaction.is_due() && self.broken.is_none() && !self.is_far_ahead()
    }

    fn has_recent(&self) -> bool {
        self.log.end() != self.base.checkpoint
    }

    /// Bytes of the log that a crash right now would have to replay beyond the frozen ones.
    fn log_bytes(&self) -> u64 {
        self.log.appended_bytes() - self.bytes_at_checkpoint + self.replayed_bytes
    }

    fn recent_bytes(&self) -> usize {
        self.shared.layers.read().active.bytes()
    }

    fn is_checkpoint_due(&self) -> bool {
        if self.is_checkpointing || self.broken.is_some() {
            return false;
        }
        if let Some((_, at)) = &self.failed {
            return at.elapsed() >= CHECKPOINT_AGAIN_AFTER;
        }
        if self.frozen.is_some() {
            return true;
        }
        let since = self.checkpointed.elapsed();
        self.recent_bytes() >= self.mode.bounds.recent_bytes
            || self.log_bytes() >= self.mode.bounds.log_bytes
            || (self.has_recent() && since >= self.checkpoint_after())
    }

    /// How old the oldest change may become; while the disk is full a checkpoint may make space.
    fn checkpoint_after(&self) -> Duration {
        if self.space.is_full() { CHECKPOINT_AGAIN_AFTER } else { CHECKPOINT_AFTER }
    }

    /// Whether so much came during a checkpoint that it has to end first.
    fn is_far_ahead(&self) -> bool {
        self.recent_bytes() >= self.mode.bounds.recent_bytes * AHEAD_FACTOR
            || self.log_bytes() >= self.mode.bounds.log_bytes * AHEAD_FACTOR as u64
    }

    /// Waits when a checkpoint is far behind; refuses when it cannot be made at all.
    pub(super) fn hold_back(&mut self) -> Result<(), CommitError> {
        if !self.is_far_ahead() {
            return Ok(());
        }
        if self.is_checkpointing
            && let Some(outcome) = self.checkpointer.outcome(true)
        {
            self.end_checkpoint(outcome);
        }
        match &self.failed {
            Some((error, _)) if self.is_far_ahead() => Err(error.clone()),
            _ => Ok(()),
        }
    }

    fn begin_checkpoint(&mut self) {
        if self.frozen.is_none() {
            // While space is short the segment is left behind, so that it can be removed.
            let ready = if self.space.is_full() { self.log.roll() } else { Ok(()) };
            if let Err(error) = ready.and_then(|()| self.log.sync()) {
                self.fail_checkpoint(CommitError::from_io(&error));
                return;
            }
            self.publish_segments();
            self.sync_due = None;
            let mut layers = self.shared.layers.write();
            let active = std::mem::replace(&mut layers.active, Arc::new(Recent::default()));
            layers.frozen = Some(Arc::clone(&active));
            drop(layers);
            self.frozen = Some((active, self.log.end()));
            self.moved_frozen = self.log.moved_below();
            self.bytes_at_checkpoint = self.log.appended_bytes();
            self.replayed_bytes = 0;
            self.checkpointed = Instant::now();
        }
        let Some((frozen, at)) = &self.frozen else { return };
        let job = Job { frozen: Arc::clone(frozen), at: *at, before: self.base.clone() };
        self.is_checkpointing = true;
        self.checkpointer.begin(job);
        if let Some(outcome) = self.checkpointer.outcome(false) {
            self.end_checkpoint(outcome);
        }
    }

    fn end_checkpoint(&mut self, outcome: Outcome) {
        self.is_checkpointing = false;
        match outcome {
            Ok(base) => {
                self.base = base;
                self.frozen = None;
                self.failed = None;
                self.shared.layers.write().frozen = None;
                self.moved_below = self.moved_frozen;
                let (checkpoint, living) = (self.base.checkpoint.segment, &self.base.living);
                let moved_below = self.moved_below;
                let is_past = |id| id < checkpoint || (is_moved(id) && id < moved_below);
                self.log.remove(|id| is_past(id) && !living.contains_key(&id));
                self.publish_segments();
                self.compaction.choose(&self.log, &self.base, self.moved_below);
                let counters = &self.shared.counters;
                add(&counters.checkpoints, 1);
                let micros = self.checkpointed.elapsed().as_micros() as u64;
                add(&counters.checkpoint_micros_total, micros);
                self.gauge();
            }
            Err(error) => {
                self.fail_checkpoint(error.clone());
                // redb refuses everything after a failure until it is opened again.
                self.broken = Some((error, Instant::now()));
                self.reopen();
            }
        }
    }

    fn fail_checkpoint(&mut self, error: CommitError) {
        add(&self.shared.counters.errors, 1);
        error!(%error, path = %self.medium.path().display(), "a checkpoint was not made");
        self.failed = Some((error, Instant::now()));
    }

    fn sync(&mut self) {
        self.sync_due = None;
        add(&self.shared.counters.syncs, 1);
        if let Err(error) = self.log.sync() {
            add(&self.shared.counters.errors, 1);
            error!(%error, "what was committed without fsync is not on the disk yet");
            self.sync_due = Some(Instant::now() + REOPEN_AFTER);
        }
    }

    /// One step of emptying a segment.
    fn compact(&mut self) {
        let mut compaction = std::mem::take(&mut self.compaction);
        match self.empty(&mut compaction) {
            // The next checkpoint tries again. While space is short that is so in any case: one segment has to be gone
            // before the next one is copied, since the reserve is for deletions.
            Err(error) => {
                warn!(%error, "a segment of the log is left as it is");
                compaction.give_up();
            }
            Ok(()) if compaction.is_due() || self.space.is_full() => {}
            Ok(()) => compaction.choose(&self.log, &self.base, self.moved_below),
        }
        self.compaction = compaction;
    }

    /// Writes what still lives of a few records anew, and from time to time has places refer to it.
    fn empty(&mut self, compaction: &mut Compaction) -> Result<(), CommitError> {
        let segment_bytes = self.mode.bounds.segment_bytes;
        // What is written to one segment is referred to before the next one begins: a checkpoint removes those before
        // the current one that nobody refers to.
        if self.log.is_moved_full(segment_bytes) {
            self.relocate(compaction)?;
        }
        let living = self.with_view(|view| compaction.next(view))?;
        if !living.from.is_empty() {
            let moved_bytes = living.plan.bytes();
            let to = self.log.append_moved(&living.plan, segment_bytes);
            let to = to.map_err(|error| CommitError::from_io(&error))?;
            let counters = &self.shared.counters;
            add(&counters.moved_bytes, moved_bytes);
            add(&counters.log_bytes, moved_bytes);
            compaction.has_written(&living, &to);
        }
        match compaction.is_round_over() {
            true => self.relocate(compaction),
            false => Ok(()),
        }
    }

    /// Has places refer to the bodies that were written anew, once these are on the disk.
    fn relocate(&mut self, compaction: &mut Compaction) -> Result<(), CommitError> {
        self.log.sync_moved().map_err(|error| CommitError::from_io(&error))?;
        let plan = self.with_view(|view| compaction.relocated(view))?;
        match plan.is_empty() {
            true => Ok(()),
            false => self.write(plan, false).map(drop),
        }
    }

    /// Lets readers see the segments that there are.
    pub(super) fn publish_segments(&self) {
        if !Arc::ptr_eq(&self.shared.layers.read().segments, self.log.segments()) {
            self.shared.layers.write().segments = Arc::clone(self.log.segments());
        }
    }

    pub(super) fn gauge(&self) {
        let counters = &self.shared.counters;
        set(&counters.segments, self.log.segments().len() as u64);
        let bytes = self.log.segments().values().map(|it| it.file.len().unwrap_or(0));
        set(&counters.segment_bytes, bytes.sum());
        let living = self.base.living.values();
        set(&counters.living_bytes, living.map(|(_, bytes)| bytes).sum());
    }

    /// Brings everything into redb and closes it.
    pub(crate) fn close(&mut self) {
        for _attempt in 0..2 {
            if self.is_checkpointing
                && let Some(outcome) = self.checkpointer.outcome(true)
            {
                self.end_checkpoint(outcome);
            }
            if self.broken.is_some() || self.failed.is_some() || !self.has_recent() {
                break;
            }
            // A second one takes what came while the first was under way.
            self.begin_checkpoint();
        }
        if self.is_checkpointing
            && let Some(outcome) = self.checkpointer.outcome(true)
        {
            self.end_checkpoint(outcome);
        }
        if let Err(error) = self.log.sync() {
            error!(%error, "the log is not on the disk");
        }
        *self.shared.database.write() = None;
    }

    /// Opens a failed storage again, when it is time to.
    pub(super) fn look_around(&mut self) {
        let is_suspect = self.shared.is_suspect.swap(false, Ordering::AcqRel);
        // Reads that fail again right after an opening would fail after the next one too.
        if is_suspect && self.broken.is_none() && self.opened.elapsed() >= REOPEN_AFTER {
            let error = CommitError::Io("a reader met a failed storage".into());
            self.broken = Some((error, Instant::now()));
            self.reopen();
        } else if let Some((_, tried)) = &self.broken
            && tried.elapsed() >= REOPEN_AFTER
        {
            self.reopen();
        }
    }

    pub(super) fn reopen(&mut self) {
        if self.is_checkpointing
            && let Some(outcome) = self.checkpointer.outcome(true)
        {
            // Its outcome counts; that redb is opened again is under way already.
            self.is_checkpointing = false;
            match outcome {
                Ok(_) => info!("the checkpoint under way was made"),
                Err(error) => self.fail_checkpoint(error),
            }
        }
        // Closed first: redb locks the file against a second opening.
        *self.shared.database.write() = None;
        let opened = catch_unwind(AssertUnwindSafe(|| base::open(&self.medium)));
        let error = match opened {
            Ok(Ok(opened)) => {
                add(&self.shared.counters.walked, u64::from(opened.was_walked));
                *self.shared.database.write() = Some(opened.database);
                self.base = opened.base;
                self.broken = None;
                self.opened = Instant::now();
                add(&self.shared.counters.reopened, 1);
                info!(path = %self.medium.path().display(), "storage opened again");
                return;
            }
            Ok(Err(OpenError::Io { source, .. })) => CommitError::from_io(&source),
            Ok(Err(error)) => CommitError::Io(error.to_string().into()),
            Err(_panic) => CommitError::Io("the storage engine panicked".into()),
        };
        warn!(%error, path = %self.medium.path().display(), "storage cannot be opened yet");
        self.broken = Some((error, Instant::now()));
    }
}
