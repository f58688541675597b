//! A set of changes that happen together or not at all.
//!
//! Rows are framed here, in the caller's task, so that the one writer has less to do. The order
//! within a set and between sets is the order in which they were submitted; what a later change
//! undoes is never written.

use crate::error::ReadError;
use crate::key::{RowKey, prefix};
use crate::queue::{QueueRef, SessionKey};
use crate::row::{Row, frame, read_row};
use bytes::Bytes;
use std::cell::Cell;

/// What a change costs beyond its keys and payloads, for the bounds on bytes.
const CHANGE_BYTES: usize = 64;

/// What a thread keeps for framing rows.
const SCRATCH_BYTES_MAX: usize = 4096;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

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
    Derive(Derivation),
}

/// Works changes out from the key of a row and the framed row, if there is one.
type WorkOut = Box<dyn FnOnce(&[u8], Option<&[u8]>) -> Result<Changes, ReadError> + Send + Sync>;

/// Changes that the writer works out from a row as it stands when their turn comes.
pub(crate) struct Derivation {
    pub(crate) table: &'static str,
    pub(crate) key: Vec<u8>,
    /// Whether a framed row can be read.
    pub(crate) check: fn(&[u8], &[u8]) -> Result<(), ReadError>,
    pub(crate) work_out: WorkOut,
}

impl std::fmt::Debug for Derivation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Derivation").field("table", &self.table).finish_non_exhaustive()
    }
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
        // Both are kept until the next checkpoint, so as long as they are and no longer.
        let mut scratch = SCRATCH.take();
        key.encode(&mut scratch);
        let key = scratch.as_slice().to_vec();
        frame(R::VERSION, &key, &mut scratch, |out| row.encode(out));
        let row = scratch.as_slice().to_vec();
        scratch.clear();
        scratch.shrink_to(SCRATCH_BYTES_MAX);
        SCRATCH.set(scratch);
        self.put_framed(R::TABLE, key, row);
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

    /// Has the writer work out further changes from the row at `key` as it stands when this set is committed, with
    /// all sets before it: nothing comes between the reading and the writing. If the row cannot be read the set is
    /// refused. `bytes` is about what the changes will hold.
    ///
    /// `derive` runs on the thread of the writer: it has to be quick, and its changes are no derivations. What it
    /// reads and writes is to be written by derivations alone, whose order is that of the submissions.
    pub fn derive<R: Row>(
        &mut self,
        key: &R::Key,
        bytes: usize,
        derive: impl FnOnce(Option<R>) -> Changes + Send + Sync + 'static,
    ) {
        let work_out = move |key: &[u8], row: Option<&[u8]>| {
            let row = row.map(|row| read_row::<R>(key, row)).transpose()?;
            Ok(derive(row.map(|(_, row)| row)))
        };
        self.bytes += bytes;
        self.adds = true;
        self.push(Change::Derive(Derivation {
            table: R::TABLE,
            key: prefix(key),
            check: |key, row| read_row::<R>(key, row).map(drop),
            work_out: Box::new(work_out),
        }));
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

    /// Takes the derivations out.
    pub(crate) fn take_derivations(&mut self) -> Vec<Derivation> {
        let is_one = |change: &mut Change| matches!(change, Change::Derive(_));
        let taken = self.list.extract_if(.., is_one);
        taken
            .filter_map(|change| match change {
                Change::Derive(derivation) => Some(derivation),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn into_list(self) -> Vec<Change> {
        self.list
    }

    /// Writes a row that is framed already.
    pub(crate) fn put_framed(&mut self, table: &'static str, key: Vec<u8>, row: Vec<u8>) {
        self.bytes += key.len() + row.len();
        self.adds = true;
        self.push(Change::Put { table, key, row });
    }

    pub(crate) fn push(&mut self, change: Change) {
        self.bytes += CHANGE_BYTES;
        self.list.push(change);
    }
}
