//! The handle of a store.
//!
//! Cheap to clone; the last one to go ends the writer. The writer is an operating system thread of
//! its own, because it spends its life in fsync.

use crate::changes::Changes;
use crate::error::{CommitError, OpenError, ReadError};
use crate::figures::{Figures, add};
use crate::inbox::{Backlog, Commit, Job};
use crate::medium::{FileMedium, Medium, MemoryMedium};
use crate::shared::Shared;
use crate::snapshot::Snapshot;
use crate::view::View;
use crate::writer::{Mode, Writer};
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// A handle of a store; clones share it.
#[derive(Debug, Clone)]
pub struct Store(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    drive: Drive,
}

/// Who runs the writer.
#[derive(Debug)]
enum Drive {
    Thread {
        thread: Mutex<Option<JoinHandle<()>>>,
        ended: watch::Receiver<bool>,
    },
    /// Whoever submits, inside the call.
    Caller(Box<Mutex<Writer>>),
}

impl Store {
    /// Opens the store in the file `path` and the directory of its log, which has the same name
    /// with the ending `log`; makes them and their directories when they are not there.
    pub fn open(path: &Path) -> Result<Store, OpenError> {
        Self::threaded(Arc::new(FileMedium(path.to_owned())), Mode::default())
    }

    /// The same with another interval than 100 ms for changes that are [`Durability::Interval`].
    ///
    /// [`Durability::Interval`]: crate::Durability::Interval
    pub fn open_with(path: &Path, sync_interval: Duration) -> Result<Store, OpenError> {
        let mode = Mode { sync_interval, ..Mode::default() };
        Self::threaded(Arc::new(FileMedium(path.to_owned())), mode)
    }

    /// A new store in memory, with the same writer.
    pub fn in_memory() -> Result<Store, OpenError> {
        Self::threaded(Arc::new(MemoryMedium::default()), Mode::default())
    }

    /// A new store in memory whose changes are committed inside [`submit`](Store::submit).
    ///
    /// For tests under a paused clock and for simulation: nothing waits for a thread that the clock
    /// knows nothing of.
    pub fn in_memory_inline() -> Result<Store, OpenError> {
        Self::inline(Arc::new(MemoryMedium::default()), Mode::default())
    }

    pub(crate) fn inline(medium: Arc<dyn Medium>, mode: Mode) -> Result<Store, OpenError> {
        let writer = Writer::open(medium, Mode { has_threads: false, ..mode })?;
        let shared = writer.shared();
        Ok(Store(Arc::new(Handle { shared, drive: Drive::Caller(Box::new(Mutex::new(writer))) })))
    }

    pub(crate) fn threaded(medium: Arc<dyn Medium>, mode: Mode) -> Result<Store, OpenError> {
        let path = medium.path().to_owned();
        let writer = Writer::open(medium, mode)?;
        let shared = writer.shared();
        let ending = writer.shared();
        let (end, ended) = watch::channel(false);
        let work = move || {
            // Whether it ended or panicked: nobody may be left waiting for an answer.
            let ended = catch_unwind(AssertUnwindSafe(|| writer.run()));
            ending.inbox.abandon();
            if ended.is_err() {
                tracing::error!("the store writer panicked, every further change is refused");
            }
            let _nobody_waits = end.send(ended.is_ok());
        };
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(work)
            .map_err(|source| OpenError::Io { path, source })?;
        let drive = Drive::Thread { thread: Mutex::new(Some(thread)), ended };
        Ok(Store(Arc::new(Handle { shared, drive })))
    }

    /// A consistent view to read from; drop it soon.
    pub fn read(&self) -> Result<Snapshot, ReadError> {
        let shared = &self.0.shared;
        let database = shared.database.read();
        let Some(database) = &*database else {
            return Err(if shared.inbox.is_closed() {
                ReadError::Closed
            } else {
                ReadError::Io("the storage failed and is not open again yet".into())
            });
        };
        match View::of_now(shared, database) {
            Ok(view) => Ok(Snapshot::new(view)),
            Err(error) => {
                shared.suspect();
                Err(ReadError::from_redb(error))
            }
        }
    }

    /// Hands a set of changes to the writer, without waiting for anything.
    pub fn submit(&self, changes: Changes) -> Commit {
        let (job, commit) = Job::new(changes);
        if let Err((job, error)) = self.0.shared.inbox.submit(job) {
            if error == CommitError::Overloaded {
                add(&self.0.shared.counters.refused_overload, 1);
            }
            job.answer(Err(error));
        } else if let Drive::Caller(writer) = &self.0.drive {
            writer.lock().serve_waiting();
        }
        commit
    }

    /// Submits a set of changes and waits until it is on disk.
    pub async fn commit(&self, changes: Changes) -> Result<(), CommitError> {
        self.submit(changes).await
    }

    /// A number that no other store has, also none that was restored from a backup of this one.
    pub fn number(&self) -> u64 {
        self.0.shared.store.load(Ordering::Relaxed)
    }

    /// How much was submitted and not yet answered.
    pub fn backlog(&self) -> Backlog {
        self.0.shared.inbox.backlog()
    }

    /// Waits until the backlog is below its soft bound; callers that can wait do so before they
    /// submit.
    pub async fn room(&self) {
        self.0.shared.inbox.room().await;
    }

    /// What the store did since it was opened.
    pub fn figures(&self) -> Figures {
        self.0.shared.counters.figures()
    }

    /// Commits what waits, then closes the file and ends the writer. Later changes are refused as
    /// closed.
    pub async fn close(&self) -> Result<(), CommitError> {
        self.0.shared.inbox.close();
        match &self.0.drive {
            Drive::Caller(writer) => writer.lock().close(),
            Drive::Thread { ended, .. } => {
                let mut ended = ended.clone();
                if ended.wait_for(|ended| *ended).await.is_err() {
                    return Err(CommitError::Io("the writer ended early".into()));
                }
            }
        }
        Ok(())
    }
}

impl Drop for Handle {
    /// Waits for the writer, so that the file is free to be opened again when the last handle is
    /// gone.
    fn drop(&mut self) {
        self.shared.inbox.close();
        if let Drive::Thread { thread, .. } = &self.drive
            && let Some(thread) = thread.lock().take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _already_reported = thread.join();
        }
    }
}

#[cfg(test)]
mod crashes;
#[cfg(test)]
mod derivations;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod faulty;
#[cfg(test)]
mod proportion;
