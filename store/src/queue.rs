//! Message queues of sessions: one place for each message that a session is owed, its body stored
//! once.
//!
//! Bodies lie in the segments of the log, where the record that brought them was written; a place
//! says where. Sequence numbers start at 1 and rise within a session; the places of a session lie
//! together in that order.

mod pending;
mod place;
mod read;

pub(crate) use pending::QueueChanges;
pub(crate) use place::{Location, Place, PlaceKey, QUEUE, QUEUE_NAME};
pub(crate) use read::{read_queue, read_stat};

use bytes::Bytes;

/// The name of a session's queue, given by the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(pub u64);

/// One place of a message in one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueRef {
    /// Whose queue.
    pub session: SessionKey,
    /// Its place there, 1 or more; a message at the same place is replaced.
    pub seq: u64,
    /// Whatever the broker keeps with it.
    pub flags: u8,
    /// When it is no longer owed, in milliseconds since the Unix epoch; the store itself drops
    /// nothing.
    pub expires_at_ms: Option<u64>,
}

/// One message read from a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Its place.
    pub seq: u64,
    /// Its flags.
    pub flags: u8,
    /// When it is no longer owed, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<u64>,
    /// Its body.
    pub body: Bytes,
}

/// What one queue holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueStat {
    /// Messages.
    pub count: u64,
    /// Bytes of their bodies, each counted in full.
    pub bytes: u64,
    /// The first place in use; 0 when empty.
    pub first_seq: u64,
    /// The last place in use; 0 when empty.
    pub last_seq: u64,
}
