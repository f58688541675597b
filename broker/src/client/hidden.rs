//! Messages that nobody may see before their commit, and what happens at its end.

use super::Client;
use crate::message::Gate;
use crate::outbox::{Outbox, Settlement};
use crate::session::Session;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use store::{Commit, CommitError};
use tokio::runtime::Handle;

/// Messages in the queues of their subscribers, hidden until their commit has ended.
pub(super) struct Hidden {
    pub(super) client: Client,
    pub(super) gate: Arc<Gate>,
    pub(super) settlement: Settlement,
    pub(super) outbox: Outbox,
}

impl Hidden {
    /// The commit has ended: lets the messages be seen, or has them never been. Says which subscriber has fallen
    /// behind, if one has.
    pub(super) fn reveal(mut self, outcome: Result<(), CommitError>) -> Option<Arc<Session>> {
        let shared = self.client.space.shared();
        let is_committed = outcome.is_ok();
        self.gate.settle(is_committed);
        self.settlement.finish(outcome, shared);
        if is_committed {
            self.outbox.catch_up(shared);
        }
        self.outbox.flush(shared);
        self.outbox.pressure.take()
    }
}

/// Waits for the commit of hidden messages and reveals them, in the task of whoever waits: it wakes the subscribers and
/// goes on in one turn, so that what it does next, such as to acknowledge, reaches them in the same one. Dropped
/// before, it leaves that to a task: the messages must not stay hidden because somebody does not wait any more.
pub(super) struct Revealing(Option<(Commit, Hidden)>);

impl Revealing {
    pub(super) fn new(commit: Commit, hidden: Hidden) -> Self {
        Self(Some((commit, hidden)))
    }
}

impl Future for Revealing {
    type Output = Result<Option<Arc<Session>>, CommitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some((commit, _)) = &mut self.0 else { return Poll::Ready(Err(CommitError::Closed)) };
        let Poll::Ready(outcome) = Pin::new(commit).poll(cx) else { return Poll::Pending };
        let hidden = self.0.take().map(|(_, hidden)| hidden);
        let behind = hidden.and_then(|hidden| hidden.reveal(outcome.clone()));
        Poll::Ready(outcome.map(|()| behind))
    }
}

impl Drop for Revealing {
    fn drop(&mut self) {
        // Outside of a runtime everything has ended.
        if let Some((commit, hidden)) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move { hidden.reveal(commit.await) });
        }
    }
}
