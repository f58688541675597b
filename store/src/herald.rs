//! Tells those who wait for a batch that it is committed.
//!
//! Whoever waits is mostly a task of a runtime. Woken one by one by the writer's thread, all of a batch would stand in
//! line with what other threads have woken, which a busy runtime takes from now and then only, while tasks woken within
//! it go first: with a thousand in flight some waited for half a second. So a task of their own runtime wakes them, and
//! they stand in the one line in which everybody stands.

use crate::error::CommitError;
use crate::inbox::Job;
use tokio::runtime::{Handle, Id};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Up to so many are told at once: one more task would only delay them.
const DIRECT_MAX: usize = 2;

/// Batches that the task has not come to; the callers of a further one are told at once.
const WAITING_MAX: usize = 64;

/// Callers of a batch that wait in one runtime, and what has become of it.
type Told = (Vec<Job>, Result<(), CommitError>);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Herald {
    /// The task in each runtime that anybody has waited in.
    tasks: Vec<(Id, Sender<Told>)>,
    /// It tells everybody itself.
    is_alone: bool,
}

impl Herald {
    /// One without tasks.
    pub(crate) fn alone() -> Self {
        Self { tasks: Vec::new(), is_alone: true }
    }

    /// Tells the callers of a batch what has become of it.
    pub(crate) fn tell(&mut self, jobs: Vec<Job>, answer: &Result<(), CommitError>) {
        let mut by_runtime: Vec<(Option<Handle>, Vec<Job>)> = Vec::with_capacity(2);
        let id = |runtime: &Option<Handle>| runtime.as_ref().map(Handle::id);
        for mut job in jobs {
            let runtime = job.runtime.take();
            match by_runtime.iter_mut().find(|(known, _)| id(known) == id(&runtime)) {
                Some((_, jobs)) => jobs.push(job),
                None => by_runtime.push((runtime, vec![job])),
            }
        }
        for (runtime, jobs) in by_runtime {
            let told = (jobs, answer.clone());
            match runtime {
                Some(runtime) if told.0.len() > DIRECT_MAX && !self.is_alone => {
                    self.tell_in(&runtime, told);
                }
                _ => answer_all(told),
            }
        }
    }

    fn tell_in(&mut self, runtime: &Handle, told: Told) {
        let id = runtime.id();
        let known = self.tasks.iter().find(|(known, _)| *known == id).map(|(_, task)| task.clone());
        let task = known.unwrap_or_else(|| {
            // Runtimes may end before the store does.
            self.tasks.retain(|(_, task)| !task.is_closed());
            let (task, batches) = channel(WAITING_MAX);
            runtime.spawn(tell_all(batches));
            self.tasks.push((id, task.clone()));
            task
        });
        match task.try_send(told) {
            Ok(()) => {}
            Err(TrySendError::Full(told) | TrySendError::Closed(told)) => answer_all(told),
        }
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
    use tokio::runtime::Builder;

    fn some() -> (Vec<Job>, Vec<crate::Commit>) {
        (0..2 * DIRECT_MAX).map(|_| Job::new(Changes::new())).unzip()
    }

    #[tokio::test]
    async fn everybody_is_told_in_a_runtime() {
        let mut herald = Herald::default();
        for answer in [Ok(()), Err(CommitError::DiskFull)] {
            let (jobs, commits) = some();
            herald.tell(jobs, &answer);
            for commit in commits {
                assert_eq!(commit.await.is_ok(), answer.is_ok());
            }
        }
        assert_eq!(herald.tasks.len(), 1);
    }

    #[test]
    fn everybody_is_told_outside_of_a_runtime_in_another_one_and_after_its_end() {
        let runtime = || Builder::new_current_thread().build().unwrap();
        let (one, other, of_ended) = (runtime(), runtime(), runtime());
        let mut herald = Herald::default();
        let waiting = [one.block_on(async { some() }), other.block_on(async { some() }), some()];
        let ended = of_ended.block_on(async { some() });
        drop(of_ended);
        let (jobs, commits): (Vec<_>, Vec<_>) = waiting.into_iter().chain([ended]).unzip();
        herald.tell(jobs.into_iter().flatten().collect(), &Ok(()));
        for runtime in [&one, &other] {
            // Lets the tasks that tell come to their turns.
            runtime.block_on(async { tokio::task::yield_now().await });
        }
        for commit in commits.into_iter().flatten() {
            one.block_on(commit).unwrap();
        }
        drop(other);
        let (jobs, commits) = one.block_on(async { some() });
        herald.tell(jobs, &Ok(()));
        for commit in commits {
            one.block_on(commit).unwrap();
        }
    }
}
