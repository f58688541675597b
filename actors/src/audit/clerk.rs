//! The clerk: a task that gathers what is not recorded in the commit of a mutation, and keeps to the retention.

use super::log::add;
use super::retention;
use crate::context::Shared;
use std::time::Duration;
use store::Changes;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

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
    pub(crate) fn start(context: Shared) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { stop, task: tokio::spawn(run(context, stopped)) }
    }

    /// Has it record what has come, and ends it.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

async fn run(context: Shared, mut stopped: oneshot::Receiver<()>) {
    let mut retention = interval_at(Instant::now() + RETENTION_PERIOD, RETENTION_PERIOD);
    retention.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let inbox = context.audit.inbox();
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            _ = retention.tick() => retention::keep(&context).await,
            () = inbox.begun() => {
                if timeout(MOMENT, &mut stopped).await.is_ok() {
                    break;
                }
                record(&context).await;
            }
        }
    }
    record(&context).await;
}

async fn record(context: &Shared) {
    let entries = context.audit.inbox().take();
    if entries.is_empty() {
        return;
    }
    let figures = &context.audit.figures;
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
