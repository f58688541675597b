//! The threads that everything of a node runs on: those that serve clients, and those of the actors.
//!
//! They are apart so that neither waits for the other: what an operator imports, or what a thousand devices report at
//! once, does not hold up a message between two clients, and on a small machine the actors get a core of their own when
//! clients need all of theirs. Why so few: `docs/decisions/0012-workers.md` and `0033-actors-apart.md`.

use anyhow::Context as _;
use tokio::runtime::{Builder, Handle, Runtime};

/// Turns of tasks after which a busy worker looks at its sockets again: with fewer, sparse traffic waits less beside a
/// flood; each look is a system call.
const TURNS_PER_LOOK: u32 = 13;

/// Turns of tasks after which a busy worker takes one that another thread has woken, or that its own queue had no room
/// for: with tokio's own choice of thirty and more, some of a thousand devices wait for hundreds of milliseconds.
const TURNS_PER_OUTSIDER: u32 = 2;

/// A runtime for clients with so many workers. With 0 it is one for each core but one, and at least one: the core that
/// is left belongs to the store's writer and to the system's part in every packet, and a message whose publisher and
/// subscriber are on one worker wakes no other thread.
pub(crate) fn of_clients(workers: usize) -> anyhow::Result<Runtime> {
    let workers = if workers == 0 { cores() - 1 } else { workers };
    runtime(workers, "manifold")
}

/// The runtime of the actors, with a worker for every second core. Dropped, it ends what it runs without waiting.
pub(crate) struct OfActors(Option<Runtime>);

impl OfActors {
    /// Starts its threads.
    pub(crate) fn start() -> anyhow::Result<Self> {
        runtime(cores() / 2, "manifold-actors").map(|runtime| Self(Some(runtime)))
    }

    /// The way to have something run there.
    pub(crate) fn handle(&self) -> Option<Handle> {
        self.0.as_ref().map(|runtime| runtime.handle().clone())
    }
}

impl Drop for OfActors {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn runtime(workers: usize, name: &str) -> anyhow::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(workers.max(1))
        .event_interval(TURNS_PER_LOOK)
        .global_queue_interval(TURNS_PER_OUTSIDER)
        .enable_all()
        .thread_name(name)
        .build()
        .context("cannot start the runtime")
}
