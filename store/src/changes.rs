//! A set of changes that happen together or not at all.
//!
//! Rows are framed here, in the caller's task, so that the one writer has less to do. The order
//! within a set and between sets is the order in which they were submitted; what a later change
//! undoes is never written.

use crate::key::prefix;
use crate::queue::{QueueRef, SessionKey};
use crate::row::{Row, frame};
use bytes::Bytes;

/// What a change costs beyond its keys and payloads, for the bounds on bytes.
const CHANGE_BYTES: usize = 64;

/// One change.
#[derive(Debug)]
pub(crate) enum Change {
    Put { table: &'static str, key: Vec<u8>, row: Vec<u8> },
    Delete { table: &'static str, key: Vec<u8> },
    DeletePrefix { table: &'static str, prefix: Vec<u8> },
    Enqueue { body: Bytes, refs: Vec<QueueRef> },
    Dequeue { session: SessionKey, seq: u64 },
    SetQueueFlags { session: SessionKey, seq: u64, flags: u8 },
    DequeueAll { session: SessionKey },
}

/// One atomic set of changes.
#[derive(Debug, Default)]
pub struct Changes {
    list: Vec<Change>,
    bytes: usize,
    adds: bool,
}

impl Changes {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many changes these are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// About how many bytes they hold in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds all of `other` after these.
    pub fn append(&mut self, mut other: Changes) {
        self.list.append(&mut other.list);
        self.bytes += other.bytes;
        self.adds |= other.adds;
    }

    /// Writes `row` at `key`, over what was there.
    pub fn put<R: Row>(&mut self, key: &R::Key, row: &R) {
        let key = prefix(key);
        let mut framed = Vec::with_capacity(256);
        frame(R::VERSION, &key, &mut framed, |out| row.encode(out));
        let row = framed;
        self.bytes += key.len() + row.len();
        self.adds = true;
        self.push(Change::Put { table: R::TABLE, key, row });
    }

    /// Deletes the row at `key`, if there is one.
    pub fn delete<R: Row>(&mut self, key: &R::Key) {
        let key = prefix(key);
        self.bytes += key.len();
        self.push(Change::Delete { table: R::TABLE, key });
    }

    /// Deletes every row whose encoded key starts with `prefix`.
    pub fn delete_prefix<R: Row>(&mut self, prefix: &[u8]) {
        self.bytes += prefix.len();
        self.push(Change::DeletePrefix { table: R::TABLE, prefix: prefix.to_vec() });
    }

    /// Puts a message into the queues that `refs` name; the body is stored once for all of them.
    pub fn enqueue(&mut self, body: Bytes, refs: Vec<QueueRef>) {
        self.bytes += body.len() + refs.len() * size_of::<QueueRef>();
        self.adds = true;
        self.push(Change::Enqueue { body, refs });
    }

    /// Takes one message off one queue; the body goes with its last reference.
    pub fn dequeue(&mut self, session: SessionKey, seq: u64) {
        self.push(Change::Dequeue { session, seq });
    }

    /// Replaces the flags of one message in one queue; no effect when it is not there.
    pub fn set_queue_flags(&mut self, session: SessionKey, seq: u64, flags: u8) {
        self.push(Change::SetQueueFlags { session, seq, flags });
    }

    /// Empties one queue.
    pub fn dequeue_all(&mut self, session: SessionKey) {
        self.push(Change::DequeueAll { session });
    }

    /// Whether anything is put or enqueued, which a full disk cannot take.
    pub(crate) fn adds(&self) -> bool {
        self.adds
    }

    pub(crate) fn into_list(self) -> Vec<Change> {
        self.list
    }

    fn push(&mut self, change: Change) {
        self.bytes += CHANGE_BYTES;
        self.list.push(change);
    }
}
