//! What waits for the writer, and the answer each caller waits for.
//!
//! Bounded twice. Above the soft bound [`room`](crate::Store::room) holds callers back; above the
//! hard bound a set is refused at once. Submitting takes one short lock and wakes the writer only
//! when it sleeps.

use crate::changes::Changes;
use crate::error::CommitError;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

/// Above these, callers that ask are held back.
const SOFT: Backlog = Backlog { changes: 16_384, bytes: 16 << 20 };
/// Above these, everybody is refused.
const HARD: Backlog = Backlog { changes: 131_072, bytes: 256 << 20 };

/// One batch takes no more changes than this, so that its first caller does not wait for ever
/// longer ones.
const BATCH_CHANGES_MAX: usize = 4096;
/// Nor more bytes than this, unless a single set is larger.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// How much was submitted and not yet answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Changes.
    pub changes: usize,
    /// Bytes they hold in memory, about.
    pub bytes: usize,
}

/// The answer to one set of changes: resolves once they are on disk, or will never be.
///
/// Dropping it does not take the changes back.
#[derive(Debug)]
pub struct Commit(oneshot::Receiver<Result<(), CommitError>>);

impl Future for Commit {
    type Output = Result<(), CommitError>;

    fn poll(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Self::Output> {
        // A writer that ended without an answer can only have been closed.
        Pin::new(&mut self.0).poll(ctx).map(|answer| answer.unwrap_or(Err(CommitError::Closed)))
    }
}

/// One set of changes and who waits for it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) changes: Changes,
    /// What the backlog shrinks by when it is answered.
    pub(crate) size: Backlog,
    /// Where it is waited for, if it is in a runtime.
    pub(crate) runtime: Option<Handle>,
    answer: oneshot::Sender<Result<(), CommitError>>,
}

impl Job {
    pub(crate) fn new(changes: Changes) -> (Self, Commit) {
        let (answer, commit) = oneshot::channel();
        let size = Backlog { changes: changes.len(), bytes: changes.bytes() };
        let runtime = Handle::try_current().ok();
        (Self { changes, size, runtime, answer }, Commit(commit))
    }

    pub(crate) fn answer(self, answer: Result<(), CommitError>) {
        // The caller may have gone; its changes happened all the same.
        let _gone = self.answer.send(answer);
    }
}

/// What the writer finds when it looks.
#[derive(Debug)]
pub(crate) enum Taken {
    /// At least one set of changes, in the order of submission.
    Jobs(Vec<Job>),
    /// Nothing came in the time it wanted to wait.
    Idle,
    /// The store is closed and nothing is left.
    Closed,
}

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    wake: Condvar,
    room: Notify,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    backlog: Backlog,
    is_closed: bool,
    is_writer_asleep: bool,
    is_nudged: bool,
}

impl Backlog {
    fn is_below(self, bound: Backlog) -> bool {
        self.changes < bound.changes && self.bytes < bound.bytes
    }
}

impl Inbox {
    /// Hands a job to the writer, or gives it back with the reason.
    pub(crate) fn submit(&self, job: Job) -> Result<(), (Job, CommitError)> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err((job, CommitError::Closed));
        }
        if !state.backlog.is_below(HARD) || job.size.bytes > HARD.bytes {
            return Err((job, CommitError::Overloaded));
        }
        state.backlog.changes += job.size.changes;
        state.backlog.bytes += job.size.bytes;
        state.jobs.push_back(job);
        let is_asleep = std::mem::take(&mut state.is_writer_asleep);
        drop(state);
        if is_asleep {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Takes the jobs of the next batch; waits when there are none, at most `wait_max`.
    pub(crate) fn take(&self, wait_max: Option<Duration>) -> Taken {
        let mut state = self.state.lock();
        while state.jobs.is_empty() {
            if state.is_closed {
                return Taken::Closed;
            }
            if std::mem::take(&mut state.is_nudged) {
                return Taken::Idle;
            }
            state.is_writer_asleep = true;
            match wait_max {
                None => self.wake.wait(&mut state),
                Some(wait_max) => {
                    let waited = self.wake.wait_for(&mut state, wait_max);
                    if waited.timed_out() && state.jobs.is_empty() && !state.is_closed {
                        state.is_writer_asleep = false;
                        return Taken::Idle;
                    }
                }
            }
        }
        state.is_writer_asleep = false;
        Taken::Jobs(next_batch(&mut state.jobs))
    }

    /// Lets jobs gather for a moment. Jobs that come do not end it; closing does.
    pub(crate) fn gather(&self, pause: Duration) {
        let mut state = self.state.lock();
        if !state.is_closed {
            self.wake.wait_for(&mut state, pause);
        }
    }

    /// Whether the writer has taken everything.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().jobs.is_empty()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().is_closed
    }

    /// Makes room for what was answered.
    pub(crate) fn answered(&self, size: Backlog) {
        let mut state = self.state.lock();
        state.backlog.changes -= size.changes;
        state.backlog.bytes -= size.bytes;
        let has_room = state.backlog.is_below(SOFT);
        drop(state);
        if has_room {
            self.room.notify_waiters();
        }
    }

    pub(crate) fn backlog(&self) -> Backlog {
        self.state.lock().backlog
    }

    pub(crate) async fn room(&self) {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            // Registered before looking, so that room made in between is not missed.
            room.as_mut().enable();
            {
                let state = self.state.lock();
                if state.is_closed || state.backlog.is_below(SOFT) {
                    return;
                }
            }
            room.await;
        }
    }

    /// Makes the writer look around although nothing was submitted.
    pub(crate) fn nudge(&self) {
        self.state.lock().is_nudged = true;
        self.wake.notify_one();
    }

    /// Closes for a writer that is gone: whatever waits is answered as closed.
    pub(crate) fn abandon(&self) {
        self.close();
        let jobs = std::mem::take(&mut self.state.lock().jobs);
        for job in jobs {
            self.answered(job.size);
            job.answer(Err(CommitError::Closed));
        }
    }

    pub(crate) fn close(&self) {
        self.state.lock().is_closed = true;
        self.wake.notify_one();
        self.room.notify_waiters();
    }
}

fn next_batch(jobs: &mut VecDeque<Job>) -> Vec<Job> {
    let mut size = Backlog::default();
    let mut count = 0;
    for job in jobs.iter() {
        size.changes += job.size.changes;
        size.bytes += job.size.bytes;
        if count > 0 && (size.changes > BATCH_CHANGES_MAX || size.bytes > BATCH_BYTES_MAX) {
            break;
        }
        count += 1;
    }
    jobs.drain(..count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::SessionKey;
    use bytes::Bytes;

    fn job(changes: usize, bytes: usize) -> Job {
        let mut set = Changes::new();
        for _ in 0..changes {
            set.dequeue(SessionKey(1), 1);
        }
        if bytes > 0 {
            set.enqueue(Bytes::from(vec![0; bytes]), Vec::new());
        }
        Job::new(set).0
    }

    fn take(inbox: &Inbox) -> usize {
        match inbox.take(Some(Duration::ZERO)) {
            Taken::Jobs(jobs) => jobs.len(),
            Taken::Idle | Taken::Closed => 0,
        }
    }

    #[test]
    fn a_batch_is_bounded_in_changes_and_bytes_but_never_empty() {
        let inbox = Inbox::default();
        for _ in 0..3 {
            inbox.submit(job(BATCH_CHANGES_MAX / 2, 0)).unwrap();
        }
        assert_eq!((take(&inbox), take(&inbox), take(&inbox)), (2, 1, 0));
        for bytes in [1, BATCH_BYTES_MAX + 1, BATCH_BYTES_MAX / 2, BATCH_BYTES_MAX] {
            inbox.submit(job(0, bytes)).unwrap();
        }
        assert_eq!((take(&inbox), take(&inbox), take(&inbox), take(&inbox)), (1, 1, 1, 1));
    }

    #[test]
    fn above_the_hard_bound_everybody_is_refused_until_something_is_answered() {
        let inbox = Inbox::default();
        inbox.submit(job(HARD.changes - 1, 0)).unwrap();
        inbox.submit(job(1, 0)).unwrap();
        assert_eq!(inbox.submit(job(1, 0)).unwrap_err().1, CommitError::Overloaded);
        inbox.answered(Backlog { changes: 1, bytes: 0 });
        inbox.submit(job(1, 0)).unwrap();
        let inbox = Inbox::default();
        assert_eq!(inbox.submit(job(0, HARD.bytes)).unwrap_err().1, CommitError::Overloaded);
    }

    #[tokio::test]
    async fn room_waits_until_the_backlog_is_below_the_soft_bound() {
        let inbox = Inbox::default();
        inbox.room().await;
        inbox.submit(job(SOFT.changes, 0)).unwrap();
        let mut room = std::pin::pin!(inbox.room());
        let poll = |room: Pin<&mut _>| {
            Future::poll(room, &mut Context::from_waker(std::task::Waker::noop())).is_ready()
        };
        assert!(!poll(room.as_mut()));
        inbox.answered(Backlog { changes: 1, bytes: 0 });
        assert!(poll(room.as_mut()));
    }

    #[test]
    fn a_closed_inbox_refuses_what_comes_and_gives_out_what_it_has() {
        let inbox = Inbox::default();
        inbox.submit(job(1, 0)).unwrap();
        inbox.close();
        assert_eq!(inbox.submit(job(1, 0)).unwrap_err().1, CommitError::Closed);
        assert_eq!(take(&inbox), 1);
        assert!(matches!(inbox.take(None), Taken::Closed));
    }
}
