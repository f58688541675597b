//! The end of a commit: everybody who waits for it is told.

use crate::figures::Counters;
use crate::message::Gate;
use crate::reason::Reason;
use crate::recorder::Recorder;
use crate::session::Session;
use crate::session::acks::AckGate;
use crate::space::{Shared, Space};
use proto::TopicName;
use std::sync::Arc;
use store::{Changes, CommitError};

/// What is to be told of the end of a commit.
#[derive(Default)]
pub(crate) struct Settlement {
    pub(super) rows: Vec<(Arc<Session>, u64)>,
    /// What may be seen only from then on.
    pub(super) hidden: Vec<Arc<Gate>>,
    pub(super) gates: Vec<Arc<AckGate>>,
    pub(super) retained: Vec<(Arc<Space>, TopicName)>,
    pub(super) recorded: Option<(Arc<dyn Recorder>, u64)>,
}

impl Settlement {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
            && self.hidden.is_empty()
            && self.gates.is_empty()
            && self.retained.is_empty()
            && self.recorded.is_none()
    }

    /// Tells everybody how the commit ended.
    pub(crate) fn finish(self, outcome: Result<(), CommitError>, shared: &Shared) {
        let mut changes = Changes::new();
        let is_revealing = !self.hidden.is_empty();
        self.hidden.iter().for_each(|gate| gate.settle(outcome.is_ok()));
        for (session, seq) in self.rows {
            let mut queue = session.queue();
            if queue.settled(seq, outcome.is_ok()) {
                changes.dequeue(session.key(), seq);
            }
            let has_more = is_revealing || queue.is_spilled();
            drop(queue);
            if has_more && session.is_connected() {
                session.wake();
            }
        }
        if !changes.is_empty() {
            // A row left behind by a failure here is sent once more: at least once is kept.
            drop(shared.store.submit(changes));
        }
        if let Err(error) = &outcome {
            Counters::add(&shared.counters.store_errors, 1);
            tracing::error!(%error, "a commit has failed; publishers are refused");
        }
        if let Some((recorder, ticket)) = self.recorded {
            recorder.settled(ticket, outcome.is_ok());
        }
        for (space, topic) in self.retained {
            space.retained_settled(&topic, outcome.is_ok());
        }
        for gate in self.gates {
            gate.release(outcome.as_ref().map(|_| ()).map_err(reason));
        }
    }
}

/// What a publisher is told when its message could not be made durable.
fn reason(error: &CommitError) -> Reason {
    match error {
        CommitError::DiskFull | CommitError::Overloaded => Reason::QuotaExceeded,
        _ => Reason::UnspecifiedError,
    }
}
