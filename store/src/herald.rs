//! Tells those who wait for a batch that it is committed.
//!
//! Whoever waits is mostly a task of the runtime that the store was opened in. Woken one by one by the writer's thread,
//! all of a batch would stand in line with what other threads have woken, which a busy runtime takes from now and then
//! only, while tasks woken within it go first: with a thousand in flight some waited for half a second. So a task of
//! that runtime wakes them, and they stand in the one line in which everybody stands.

use crate::error::CommitError;
use crate::inbox::Job;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Up to so many are told at once: one more task would only delay them.
const DIRECT_MAX: usize = 2;

/// Batches that the task has not come to; the callers of a further one are told at once.
const WAITING_MAX: usize = 64;

/// A batch whose callers wait, and what has become of it.
type Told = (Vec<Job>, Result<(), CommitError>);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Herald {
    task: Option<Sender<Told>>,
}

impl Herald {
    /// One in the runtime that this is called in; outside of any it tells everybody itself.
    pub(crate) fn here() -> Self {
        let task = Handle::try_current().ok().map(|runtime| {
            let (task, batches) = channel(WAITING_MAX);
            runtime.spawn(tell_all(batches));
            task
        });
        Self { task }
    }

    /// Tells the callers of a batch what has become of it.
    pub(crate) fn tell(&self, jobs: Vec<Job>, answer: Result<(), CommitError>) {
        let told = match &self.task {
            Some(task) if jobs.len() > DIRECT_MAX => match task.try_send((jobs, answer)) {
                Ok(()) => return,
                // The runtime may have ended before the store does.
                Err(TrySendError::Full(told) | TrySendError::Closed(told)) => told,
            },
            _ => (jobs, answer),
        };
        answer_all(told);
    }
}

async fn tell_all(mut batches: Receiver<Told>) {
    while let Some(told) = batches.recv().await {
        answer_all(told);
    }
}

fn answer_all((jobs, answer): Told) {
    for job in jobs {
        job.answer(answer.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::Changes;

    fn some() -> (Vec<Job>, Vec<crate::Commit>) {
        (0..2 * DIRECT_MAX).map(|_| Job::new(Changes::new())).unzip()
    }

    #[tokio::test]
    async fn everybody_is_told_in_a_runtime() {
        let herald = Herald::here();
        for answer in [Ok(()), Err(CommitError::DiskFull)] {
            let (jobs, commits) = some();
            herald.tell(jobs, answer.clone());
            for commit in commits {
                assert_eq!(commit.await.is_ok(), answer.is_ok());
            }
        }
    }

    #[test]
    fn everybody_is_told_outside_of_a_runtime_and_after_its_end() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let of_ended = runtime.block_on(async { Herald::here() });
        drop(runtime);
        for herald in [Herald::here(), of_ended] {
            let (jobs, commits) = some();
            herald.tell(jobs, Ok(()));
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for commit in commits {
                runtime.block_on(commit).unwrap();
            }
        }
    }
}
