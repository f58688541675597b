//! What the handle, its snapshots, the writer and the checkpointer share.

use crate::figures::Counters;
use crate::inbox::Inbox;
use crate::log::Segments;
use crate::recent::Recent;
use parking_lot::RwLock;
use redb::Database;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) inbox: Inbox,
    pub(crate) counters: Counters,
    /// Empty while a failed storage cannot be opened, and after closing.
    pub(crate) database: RwLock<Option<Database>>,
    pub(crate) layers: RwLock<Layers>,
    /// Set by a reader that met a failed storage.
    pub(crate) is_suspect: AtomicBool,
    /// The number of the store.
    pub(crate) store: AtomicU64,
}

/// What lies over redb, and the segments that places refer to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layers {
    pub(crate) active: Arc<Recent>,
    /// What a checkpoint is bringing into redb.
    pub(crate) frozen: Option<Arc<Recent>>,
    pub(crate) segments: Arc<Segments>,
}

impl Layers {
    pub(crate) fn frozen(&self) -> Option<&Recent> {
        self.frozen.as_deref()
    }
}

impl Shared {
    /// Lets the writer find out what is wrong with the storage.
    pub(crate) fn suspect(&self) {
        if !self.is_suspect.swap(true, Ordering::AcqRel) {
            self.inbox.nudge();
        }
    }
}
