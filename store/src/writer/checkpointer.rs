//! Runs checkpoints beside the writer, so that commits go on while redb is written.
//!
//! One at a time. A store without threads runs them inside the call.

use crate::base::Base;
use crate::checkpoint::Checkpoint;
use crate::error::CommitError;
use crate::log::Position;
use crate::recent::Recent;
use crate::shared::Shared;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

/// What is to be brought into redb.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) frozen: Arc<Recent>,
    pub(super) at: Position,
    pub(super) before: Base,
}

/// How far redb has come, or why it has not.
pub(super) type Outcome = Result<Base, CommitError>;

#[derive(Debug)]
pub(super) enum Checkpointer {
    /// Runs a job where it is handed over.
    Caller { shared: Arc<Shared>, outcome: Option<Outcome> },
    Thread {
        jobs: Option<SyncSender<Job>>,
        outcomes: Receiver<Outcome>,
        thread: Option<JoinHandle<()>>,
    },
}

impl Checkpointer {
    pub(super) fn caller(shared: Arc<Shared>) -> Self {
        Self::Caller { shared, outcome: None }
    }

    pub(super) fn thread(shared: Arc<Shared>) -> io::Result<Self> {
        let (jobs, todo) = sync_channel::<Job>(1);
        let (done, outcomes) = sync_channel(1);
        let work = move || {
            for job in todo {
                let outcome = run(&shared, &job);
                if done.send(outcome).is_err() {
                    return;
                }
                shared.inbox.nudge();
            }
        };
        let thread = std::thread::Builder::new().name("store-checkpoint".into()).spawn(work)?;
        Ok(Self::Thread { jobs: Some(jobs), outcomes, thread: Some(thread) })
    }

    /// Begins a checkpoint; none may be under way.
    pub(super) fn begin(&mut self, job: Job) {
        match self {
            Self::Caller { shared, outcome } => *outcome = Some(run(shared, &job)),
            Self::Thread { jobs, .. } => {
                // A thread that is gone shows itself when its outcome is asked for.
                let _gone = jobs.as_ref().map(|jobs| jobs.send(job));
            }
        }
    }

    /// The outcome of the checkpoint under way; with `wait`, however long that takes.
    pub(super) fn outcome(&mut self, wait: bool) -> Option<Outcome> {
        let gone = || Some(Err(CommitError::Io("the thread of checkpoints has ended".into())));
        match self {
            Self::Caller { outcome, .. } => outcome.take(),
            Self::Thread { outcomes, .. } if wait => outcomes.recv().ok().or_else(gone),
            Self::Thread { outcomes, .. } => match outcomes.try_recv() {
                Ok(outcome) => Some(outcome),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => gone(),
            },
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        if let Self::Thread { jobs, thread, .. } = self {
            *jobs = None;
            let _panicked = thread.take().map(JoinHandle::join);
        }
    }
}

fn run(shared: &Shared, job: &Job) -> Outcome {
    let database = shared.database.read();
    let Some(database) = &*database else { return Err(CommitError::Closed) };
    let checkpoint = Checkpoint { frozen: &job.frozen, at: job.at, before: &job.before };
    // A panic inside redb leaves it in need of repair, which is what opening it again does.
    match catch_unwind(AssertUnwindSafe(|| checkpoint.write(database))) {
        Ok(Ok(base)) => Ok(base),
        Ok(Err(error)) => Err(CommitError::from_redb(&error)),
        Err(_panic) => Err(CommitError::Io("the storage engine panicked".into())),
    }
}
