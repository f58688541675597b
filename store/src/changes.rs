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
    DequeueThrough { session: SessionKey, seq: u64 },
}

/// When a set of changes is answered, the weakest promise first.
///
/// All changes go through the same log in the order of their submission, whatever they ask for: one
/// that is on disk has everything before it on disk, too. In every mode they are visible to readers
/// when they are answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// When the operating system has them. They are on disk with the next change that asks for it,
    /// the next checkpoint (a minute at most) or an orderly end. Killing the process loses
    /// nothing; a power cut, or a crash of the operating system, loses what is not on disk.
    Memory,
    /// As above, and they are on disk within the store's interval, which is what a power cut can
    /// lose.
    Interval,
    /// When they are on disk.
    #[default]
    Sync,
}

/// One atomic set of changes.
#[derive(Debug, Default)]
pub struct Changes {
    list: Vec<Change>,
    bytes: usize,
    adds: bool,
    durability: Durability,
}

impl Changes {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty set with another promise than the default, to be on disk when it is answered.
    pub fn with_durability(durability: Durability) -> Self {
        Self { durability, ..Self::default() }
    }

    /// Asks for another promise, whatever the set asked for before.
    pub fn set_durability(&mut self, durability: Durability) {
        self.durability = durability;
    }

    /// What is promised when the set is answered.
    pub fn durability(&self) -> Durability {
        self.durability
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

    /// Adds all of `other` after these, under the stronger promise of the two; an empty set asks
    /// for none.
    pub fn append(&mut self, mut other: Changes) {
        if other.is_empty() {
            return;
        }
        self.durability = match self.is_empty() {
            true => other.durability,
            false => self.durability.max(other.durability),
        };
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

    /// Takes everything up to `seq` off one queue.
    pub fn dequeue_through(&mut self, session: SessionKey, seq: u64) {
        self.push(Change::DequeueThrough { session, seq });
    }

    /// Empties one queue.
    pub fn dequeue_all(&mut self, session: SessionKey) {
        self.dequeue_through(session, u64::MAX);
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
