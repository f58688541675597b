//! The clerk: a task that gathers what is not recorded in the commit of a mutation, and keeps to the retention.

use super::entry::Entry;
use super::log::add;
use super::merge::Gathered;
use super::retention;
use crate::context::Shared;
use std::time::Duration;
use store::Changes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout_at};

/// What comes within so long is recorded in one commit, and merged where it is alike.
const MOMENT: Duration = Duration::from_millis(250);

/// How often it is seen whether records are to be dropped.
const RETENTION_PERIOD: Duration = Duration::from_secs(60);

/// A running clerk.
#[derive(Debug)]
pub(crate) struct Clerk {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Clerk {
    /// Starts the clerk of a node.
    pub(crate) fn start(context: Shared, waiting: mpsc::Receiver<Entry>) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { stop, task: tokio::spawn(run(context, waiting, stopped)) }
    }

    /// Has it record what has come, and ends it.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

async fn run(
    context: Shared,
    mut waiting: mpsc::Receiver<Entry>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut retention = interval_at(Instant::now() + RETENTION_PERIOD, RETENTION_PERIOD);
    retention.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut gathered = Gathered::default();
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            _ = retention.tick() => retention::keep(&context).await,
            entry = waiting.recv() => {
                let Some(entry) = entry else { break };
                take(&context, &mut gathered, entry);
                let until = Instant::now() + MOMENT;
                while let Ok(Some(entry)) = timeout_at(until, waiting.recv()).await {
                    take(&context, &mut gathered, entry);
                }
                record(&context, &mut gathered).await;
            }
        }
    }
    while let Ok(entry) = waiting.try_recv() {
        take(&context, &mut gathered, entry);
    }
    record(&context, &mut gathered).await;
}

fn take(context: &Shared, gathered: &mut Gathered, entry: Entry) {
    if !gathered.add(entry) {
        context.audit.figures.left_out.increase();
    }
}

async fn record(context: &Shared, gathered: &mut Gathered) {
    if gathered.is_empty() {
        return;
    }
    let figures = &context.audit.figures;
    figures.merged.add(std::mem::take(&mut gathered.merged));
    let entries = gathered.take();
    let count = entries.len() as u64;
    let mut changes = Changes::new();
    entries.into_iter().for_each(|entry| add(&mut changes, entry));
    match context.outside.store.commit(changes).await {
        Ok(()) => figures.records.add(count),
        Err(error) => {
            figures.failed.add(count);
            tracing::error!(%error, count, "audit records cannot be kept");
        }
    }
}
