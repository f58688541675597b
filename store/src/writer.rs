//! The one writer: commits everything that waits as one record of the log with one fsync, applies
//! it, then answers.
//!
//! Batches form by themselves: while one is on its way to the disk the next one gathers; a lone set
//! of changes goes at once. A batch that fails changes nothing, and all its callers are told. A full
//! disk is seen before the log meets it ([`Space`]): then only sets that delete are taken.
//!
//! Between batches: checkpoints are begun and their outcomes taken in, what was committed without
//! fsync is brought to the disk in time, segments that are hardly used are emptied.

mod checkpointer;
mod compact;
mod housekeeping;
mod pace;

use crate::base::{self, Base, Opened};
use crate::batch::Batch;
use crate::changes::{Changes, Durability};
use crate::error::{CommitError, OpenError};
use crate::figures::add;
use crate::herald::Herald;
use crate::inbox::{Backlog, Job, Taken};
use crate::log::{Log, MOVED, Position, recover};
use crate::medium::Medium;
use crate::plan::Plan;
use crate::recent::Recent;
use crate::shared::{Layers, Shared};
use crate::space::Space;
use crate::view::View;
use checkpointer::Checkpointer;
use compact::Compaction;
use pace::Pace;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;
use tracing::error;

/// The writer's own state.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    medium: Arc<dyn Medium>,
    log: Log,
    /// How far redb has come.
    base: Base,
    checkpointer: Checkpointer,
    /// What the checkpoint under way, or the failed one, brings into redb, and up to where.
    frozen: Option<(Arc<Recent>, Position)>,
    /// Segments of moved bodies below this number were as they will stay when that was frozen, and when the last
    /// checkpoint was.
    moved_frozen: u64,
    moved_below: u64,
    is_checkpointing: bool,
    /// Why the last checkpoint failed, and when.
    failed: Option<(CommitError, Instant)>,
    checkpointed: Instant,
    /// Bytes appended when the last checkpoint was begun; those replayed at the start count too.
    bytes_at_checkpoint: u64,
    replayed_bytes: u64,
    compaction: Compaction,
    /// When what was committed without fsync has to be on the disk.
    sync_due: Option<Instant>,
    mode: Mode,
    /// Why redb is not open, and when it was last tried.
    broken: Option<(CommitError, Instant)>,
    opened: Instant,
    space: Space,
    herald: Herald,
    pace: Pace,
}

/// How a writer works.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mode {
    /// Whether checkpoints have a thread of their own.
    pub(crate) has_threads: bool,
    pub(crate) sync_interval: Duration,
    pub(crate) bounds: Bounds,
}

/// What begins a checkpoint or a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// A segment that has reached this size takes no further record. One large record may exceed
    /// it.
    pub(crate) segment_bytes: u64,
    /// A checkpoint is begun when what is recent takes so much memory.
    pub(crate) recent_bytes: usize,
    /// Or when so many bytes were appended since the last one: they are what a crash has to replay.
    pub(crate) log_bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { segment_bytes: 32 << 20, recent_bytes: 32 << 20, log_bytes: 64 << 20 }
    }
}

impl Default for Mode {
    fn default() -> Self {
        let sync_interval = Duration::from_millis(100);
        Self { has_threads: true, sync_interval, bounds: Bounds::default() }
    }
}

impl Writer {
    pub(crate) fn open(medium: Arc<dyn Medium>, mode: Mode) -> Result<Self, OpenError> {
        let Opened { database, base, was_walked } = base::open(&medium)?;
        let shared = Arc::new(Shared::default());
        shared.store.store(base.store, Ordering::Relaxed);
        let active = Arc::new(Recent::default());
        let living: Vec<u64> = base.living.keys().copied().collect();
        let began = Instant::now();
        let recovered = recover(&medium, base.store, base.checkpoint, &living, |plan, bodies| {
            active.apply(plan, bodies);
        })?;
        let counters = &shared.counters;
        add(&counters.walked, u64::from(was_walked));
        add(&counters.replayed_records, recovered.records);
        add(&counters.replayed_bytes, recovered.bytes);
        add(&counters.replay_micros, began.elapsed().as_micros() as u64);
        add(&counters.cut_bytes, recovered.cut_bytes);
        add(&counters.missing_segments, recovered.missing.len() as u64);
        let segments = Arc::clone(recovered.log.segments());
        *shared.layers.write() = Layers { active, frozen: None, segments };
        *shared.database.write() = Some(database);
        let checkpointer = match mode.has_threads {
            false => Checkpointer::caller(Arc::clone(&shared)),
            true => Checkpointer::thread(Arc::clone(&shared))
                .map_err(|source| OpenError::Io { path: medium.path().to_owned(), source })?,
        };
        let writer = Self {
            shared,
            medium,
            log: recovered.log,
            base,
            checkpointer,
            frozen: None,
            moved_frozen: MOVED,
            moved_below: MOVED,
            is_checkpointing: false,
            failed: None,
            checkpointed: Instant::now(),
            bytes_at_checkpoint: 0,
            replayed_bytes: recovered.bytes,
            compaction: Compaction::default(),
            sync_due: None,
            mode,
            broken: None,
            opened: Instant::now(),
            space: Space::default(),
            pace: Pace::default(),
            herald: if mode.has_threads { Herald::default() } else { Herald::alone() },
        };
        writer.gauge();
        Ok(writer)
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Works until the store is closed, then closes the storage.
    pub(crate) fn run(mut self) {
        loop {
            if let Some(pause) = self.pace.pause(Instant::now()) {
                self.shared.inbox.gather(pause);
            }
            match self.shared.inbox.take(self.wait_max()) {
                Taken::Jobs(jobs) => self.serve(jobs),
                Taken::Idle => self.look_around(),
                Taken::Closed => break,
            }
            self.keep_house();
        }
        self.close();
    }

    /// Commits what waits right now, for a store without a thread.
    pub(crate) fn serve_waiting(&mut self) {
        if let Taken::Jobs(jobs) = self.shared.inbox.take(Some(Duration::ZERO)) {
            self.serve(jobs);
        }
        self.keep_house();
    }

    /// Commits one batch and answers its callers.
    fn serve(&mut self, jobs: Vec<Job>) {
        self.look_around();
        let jobs = self.refuse_when_full(jobs);
        if jobs.is_empty() {
            return;
        }
        let mut batch = Batch::default();
        let mut size = Backlog::default();
        let mut durability = Durability::Memory;
        let mut waiting = Vec::with_capacity(jobs.len());
        for mut job in jobs {
            size.changes += job.size.changes;
            size.bytes += job.size.bytes;
            durability = durability.max(job.changes.durability());
            let changes = std::mem::take(&mut job.changes);
            match self.add(changes, &mut batch) {
                Ok(()) => waiting.push(job),
                Err(error) => job.answer(Err(error)),
            }
        }
        let begun = Instant::now();
        let answer = self.commit(batch, durability);
        self.pace.note(waiting.len(), durability == Durability::Sync, begun, Instant::now());
        if answer.is_ok() {
            let counters = &self.shared.counters;
            add(&counters.commits, waiting.len() as u64);
            add(&counters.changes, size.changes as u64);
            counters.note_batch_size(waiting.len());
        }
        self.shared.inbox.answered(size);
        self.herald.tell(waiting, &answer);
    }

    /// Adds one set to a batch, its derivations worked out after the sets before it. One that is refused adds nothing.
    fn add(&mut self, mut changes: Changes, batch: &mut Batch) -> Result<(), CommitError> {
        let derivations = changes.take_derivations();
        if !derivations.is_empty() {
            if let Some((error, _)) = &self.broken {
                return Err(error.clone());
            }
            let derived = self.with_view(|view| batch.derive(derivations, view))?;
            derived.map_err(|error| CommitError::Io(error.to_string().into()))?;
        }
        batch.add(changes);
        Ok(())
    }

    fn commit(&mut self, batch: Batch, durability: Durability) -> Result<(), CommitError> {
        if let Some((error, _)) = &self.broken {
            return Err(error.clone());
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.hold_back()?;
        let began = Instant::now();
        let plan = self.with_view(|view| batch.resolve(view))?;
        if plan.is_empty() {
            return Ok(());
        }
        let (rows, bytes) = (plan.len(), plan.bytes());
        let resolved = began.elapsed();
        let written = self.write(plan, durability == Durability::Sync);
        let (to_disk, applied) = written.inspect_err(|error| {
            add(&self.shared.counters.errors, 1);
            error!(%error, path = %self.medium.path().display(), "a batch was not written");
        })?;
        match durability {
            Durability::Sync => self.sync_due = None,
            Durability::Interval if self.sync_due.is_none() => {
                self.sync_due = Some(Instant::now() + self.mode.sync_interval);
            }
            Durability::Interval | Durability::Memory => {}
        }
        let counters = &self.shared.counters;
        add(&counters.batches, 1);
        add(&counters.rows, rows);
        add(&counters.bytes, bytes);
        counters.note_times(resolved + applied, to_disk);
        Ok(())
    }

    /// Appends a plan to the log and makes it visible; answers how long each took.
    fn write(&mut self, plan: Plan, sync: bool) -> Result<(Duration, Duration), CommitError> {
        let began = Instant::now();
        let bytes = self.log.appended_bytes();
        let appended = self
            .log
            .append(&plan, sync, self.mode.bounds.segment_bytes)
            .map_err(|error| CommitError::from_io(&error));
        self.publish_segments();
        let bodies = appended?;
        let to_disk = began.elapsed();
        let counters = &self.shared.counters;
        add(&counters.log_bytes, self.log.appended_bytes() - bytes);
        add(&counters.syncs, u64::from(sync));
        let active = Arc::clone(&self.shared.layers.read().active);
        active.apply(plan, &bodies);
        Ok((to_disk, began.elapsed() - to_disk))
    }

    /// Lets `read` look at the newest state. When redb fails in that, it is opened again.
    fn with_view<T>(
        &mut self,
        read: impl FnOnce(&View) -> Result<T, redb::Error>,
    ) -> Result<T, CommitError> {
        let read = || -> Result<T, redb::Error> {
            let view = match &*self.shared.database.read() {
                Some(database) => View::of_writer(&self.shared, database)?,
                None => return Err(redb::Error::DatabaseClosed),
            };
            read(&view)
        };
        let error = match catch_unwind(AssertUnwindSafe(read)) {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(error)) => CommitError::from_redb(&error),
            Err(_panic) => CommitError::Io("the storage engine panicked".into()),
        };
        add(&self.shared.counters.errors, 1);
        error!(%error, path = %self.medium.path().display(), "the rows cannot be read");
        self.broken = Some((error.clone(), Instant::now()));
        self.reopen();
        Err(error)
    }

    /// Answers the jobs that a full disk cannot take, and gives back the others.
    fn refuse_when_full(&mut self, mut jobs: Vec<Job>) -> Vec<Job> {
        let adds = jobs.iter().any(|job| job.changes.adds());
        if !adds || self.space.takes_more(&*self.medium, &self.shared.database) {
            return jobs;
        }
        for job in jobs.extract_if(.., |job| job.changes.adds()) {
            add(&self.shared.counters.refused_full, 1);
            self.shared.inbox.answered(job.size);
            job.answer(Err(CommitError::DiskFull));
        }
        jobs
    }
}
