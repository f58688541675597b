//! The one writer: commits everything that waits in one transaction with fsync, then answers.
//!
//! Batches form by themselves: while one is on its way to the disk the next one gathers; a lone set
//! of changes goes at once. A batch that fails changes nothing, all its callers are told, and the
//! storage is opened again, because redb refuses everything after a failure. A full disk is seen
//! before redb meets it ([`Space`]): then only sets that delete are taken.
//!
//! After a crash redb walks the whole file, 2 s for each GiB, unless the last commit saved what the
//! walk finds (quick repair), which doubles a lone commit and adds a third to 256 rows. Files from
//! [`QUICK_REPAIR_BYTES`] on pay for it, smaller ones walk: half a second at worst either way.

use crate::batch::Batch;
use crate::engine::{self, Opened};
use crate::error::{CommitError, OpenError};
use crate::figures::{Counters, add};
use crate::inbox::{Backlog, Inbox, Job, Taken};
use crate::medium::Medium;
use crate::queue::QueueWriter;
use crate::space::Space;
use parking_lot::RwLock;
use redb::Database;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{error, info, warn};

/// The size of a file from which every commit saves what a walk after a crash would find.
pub(crate) const QUICK_REPAIR_BYTES: u64 = 256 << 20;

/// How long after a failed attempt the storage is opened again at the earliest.
const REOPEN_AFTER: Duration = Duration::from_millis(250);

/// What the handle, its snapshots and the writer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) inbox: Inbox,
    pub(crate) counters: Counters,
    /// Empty while a failed storage cannot be opened, and after closing.
    pub(crate) database: RwLock<Option<Database>>,
    /// Set by a reader that met a failed storage.
    pub(crate) is_suspect: AtomicBool,
}

impl Shared {
    pub(crate) fn new(database: Database) -> Self {
        Self {
            inbox: Inbox::default(),
            counters: Counters::default(),
            database: RwLock::new(Some(database)),
            is_suspect: AtomicBool::new(false),
        }
    }

    /// Lets the writer find out what is wrong with the storage.
    pub(crate) fn suspect(&self) {
        if !self.is_suspect.swap(true, Ordering::AcqRel) {
            self.inbox.nudge();
        }
    }
}

/// The writer's own state.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    medium: Box<dyn Medium>,
    queues: QueueWriter,
    /// Why the storage is not open, and when it was last tried.
    broken: Option<(CommitError, Instant)>,
    opened: Instant,
    space: Space,
}

impl Writer {
    pub(crate) fn open(medium: Box<dyn Medium>) -> Result<Self, OpenError> {
        let (opened, queues) = open_database(&*medium)?;
        let shared = Arc::new(Shared::new(opened.database));
        add(&shared.counters.walked, u64::from(opened.was_walked));
        Ok(Self {
            shared,
            medium,
            queues,
            broken: None,
            opened: Instant::now(),
            space: Space::default(),
        })
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Works until the store is closed, then closes the storage.
    pub(crate) fn run(mut self) {
        loop {
            let wait_max = self.broken.as_ref().map(|_| REOPEN_AFTER);
            match self.shared.inbox.take(wait_max) {
                Taken::Jobs(jobs) => self.serve(jobs),
                Taken::Idle => self.look_around(),
                Taken::Closed => break,
            }
        }
        self.close();
    }

    /// Commits what waits right now, for a store without a thread.
    pub(crate) fn serve_waiting(&mut self) {
        if let Taken::Jobs(jobs) = self.shared.inbox.take(Some(Duration::ZERO)) {
            self.serve(jobs);
        }
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
        let mut waiting = Vec::with_capacity(jobs.len());
        for mut job in jobs {
            size.changes += job.size.changes;
            size.bytes += job.size.bytes;
            batch.add(std::mem::take(&mut job.changes));
            waiting.push(job);
        }
        let answer = self.commit(&batch);
        if answer.is_ok() {
            let counters = &self.shared.counters;
            add(&counters.commits, waiting.len() as u64);
            add(&counters.changes, size.changes as u64);
            counters.note_batch_size(waiting.len());
        }
        self.shared.inbox.answered(size);
        for job in waiting {
            job.answer(answer.clone());
        }
    }

    pub(crate) fn close(&mut self) {
        *self.shared.database.write() = None;
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), CommitError> {
        if let Some((error, _)) = &self.broken {
            return Err(error.clone());
        }
        if batch.is_empty() {
            return Ok(());
        }
        // A panic inside redb leaves it in need of repair, which is what opening it again does.
        let written = catch_unwind(AssertUnwindSafe(|| self.write(batch)));
        let error = match written {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => CommitError::from_redb(&error),
            Err(_panic) => CommitError::Io("the storage engine panicked".into()),
        };
        add(&self.shared.counters.errors, 1);
        error!(%error, path = %self.medium.path().display(), "a batch was not written");
        self.broken = Some((error.clone(), Instant::now()));
        self.reopen();
        Err(error)
    }

    fn write(&mut self, batch: &Batch) -> Result<(), redb::Error> {
        let began = Instant::now();
        let mut txn = match &*self.shared.database.read() {
            Some(database) => database.begin_write()?,
            None => return Err(redb::Error::DatabaseClosed),
        };
        txn.set_quick_repair(self.medium.used_bytes() >= QUICK_REPAIR_BYTES);
        let touched = batch.apply(&txn, &mut self.queues, &self.shared.counters)?;
        if touched.rows == 0 {
            txn.abort()?;
            return Ok(());
        }
        let applied = began.elapsed();
        txn.commit()?;
        let counters = &self.shared.counters;
        add(&counters.batches, 1);
        add(&counters.rows, touched.rows);
        add(&counters.bytes, touched.bytes);
        counters.note_times(applied, began.elapsed() - applied);
        Ok(())
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

    /// Opens a failed storage again, when it is time to.
    fn look_around(&mut self) {
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

    fn reopen(&mut self) {
        // Closed first: redb locks the file against a second opening.
        *self.shared.database.write() = None;
        let opened = catch_unwind(AssertUnwindSafe(|| open_database(&*self.medium)));
        let error = match opened {
            Ok(Ok((opened, queues))) => {
                add(&self.shared.counters.walked, u64::from(opened.was_walked));
                *self.shared.database.write() = Some(opened.database);
                self.queues = queues;
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

fn open_database(medium: &dyn Medium) -> Result<(Opened, QueueWriter), OpenError> {
    let opened = engine::open(medium)?;
    let queues = QueueWriter::open(&opened.database).map_err(|error| OpenError::Damaged {
        path: medium.path().to_owned(),
        reason: error.to_string(),
    })?;
    Ok((opened, queues))
}
