//! The queue changes of one batch, merged: what a later change undoes is gone before anything is
//! written.
//!
//! Pure. A message enqueued and dequeued in the same batch leaves a bare removal, because its place
//! might already have been in use; the writer then finds nothing to remove and writes nothing.

use super::{QueueRef, SessionKey};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// What happens to the queues in one batch.
#[derive(Debug, Default)]
pub(crate) struct QueueChanges {
    /// Emptied before anything in `rows` happens.
    pub(super) cleared: BTreeSet<SessionKey>,
    pub(super) rows: BTreeMap<(SessionKey, u64), Op>,
    /// Bodies that arrived for several queues.
    pub(super) bodies: Vec<SharedBody>,
}

/// What happens to one place of one queue.
#[derive(Debug)]
pub(super) enum Op {
    Put { flags: u8, expires_at_ms: Option<u64>, body: PendingBody },
    SetFlags(u8),
    Remove,
}

#[derive(Debug)]
pub(super) enum PendingBody {
    Own(Bytes),
    /// An index into `bodies`.
    Shared(usize),
}

#[derive(Debug)]
pub(super) struct SharedBody {
    pub(super) body: Bytes,
    /// References in this batch that are still wanted.
    pub(super) refs: u32,
}

impl QueueChanges {
    pub(crate) fn is_empty(&self) -> bool {
        self.cleared.is_empty() && self.rows.is_empty()
    }

    pub(crate) fn enqueue(&mut self, body: Bytes, refs: &[QueueRef]) {
        if let [only] = refs {
            self.put(only, PendingBody::Own(body));
            return;
        }
        let index = self.bodies.len();
        self.bodies.push(SharedBody { body, refs: 0 });
        for each in refs {
            self.bodies[index].refs += 1;
            self.put(each, PendingBody::Shared(index));
        }
    }

    pub(crate) fn dequeue(&mut self, session: SessionKey, seq: u64) {
        let replaced = if self.cleared.contains(&session) {
            self.rows.remove(&(session, seq))
        } else {
            self.rows.insert((session, seq), Op::Remove)
        };
        self.release(replaced);
    }

    pub(crate) fn set_flags(&mut self, session: SessionKey, seq: u64, new: u8) {
        match self.rows.get_mut(&(session, seq)) {
            Some(Op::Put { flags, .. } | Op::SetFlags(flags)) => *flags = new,
            Some(Op::Remove) => {}
            None if self.cleared.contains(&session) => {}
            None => {
                self.rows.insert((session, seq), Op::SetFlags(new));
            }
        }
    }

    pub(crate) fn dequeue_all(&mut self, session: SessionKey) {
        let places = self.rows.range((session, 0)..=(session, u64::MAX));
        let places: Vec<_> = places.map(|(place, _)| *place).collect();
        for place in places {
            let replaced = self.rows.remove(&place);
            self.release(replaced);
        }
        self.cleared.insert(session);
    }

    fn put(&mut self, at: &QueueRef, body: PendingBody) {
        let op = Op::Put { flags: at.flags, expires_at_ms: at.expires_at_ms, body };
        let replaced = self.rows.insert((at.session, at.seq), op);
        self.release(replaced);
    }

    fn release(&mut self, op: Option<Op>) {
        if let Some(Op::Put { body: PendingBody::Shared(index), .. }) = op {
            self.bodies[index].refs -= 1;
        }
    }
}
