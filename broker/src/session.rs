//! A session as publishers see it: an address with a bounded queue (MQTT 5.0 4.1).
//!
//! A [`Session`] is shared by everybody who routes to it. Its owner, a connection task or an in-process client,
//! takes deliveries out; between connections a durable session has no owner and its deliveries wait in the store.
//! What only the owner knows (packet identifiers, receive maximum) is in [`machine`], plain state without I/O.

pub(crate) mod acks;
pub(crate) mod aliases;
pub(crate) mod inflight;
pub(crate) mod machine;
pub(crate) mod queue;
pub(crate) mod received;

use crate::message::Sender;
use crate::permissions::Permissions;
use futures_util::task::AtomicWaker;
use parking_lot::{Mutex, RwLock};
use proto::{Identity, TopicName};
use queue::{Bounds, Queue};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use store::SessionKey;

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    key: SessionKey,
    sender: Arc<Sender>,
    /// In-process sessions are never dropped from: publishers wait for them instead.
    is_in_process: bool,
    is_connected: AtomicBool,
    permissions: RwLock<Permissions>,
    /// Rises with each change of the permissions.
    revision: AtomicU32,
    queue: Mutex<Queue>,
    /// Wakes the owner; shared with the acknowledgements that the owner waits for.
    waker: Arc<AtomicWaker>,
}

impl Session {
    pub(crate) fn new(
        key: SessionKey,
        sender: Arc<Sender>,
        is_in_process: bool,
        bounds: Bounds,
    ) -> Self {
        Self {
            key,
            permissions: RwLock::new(Permissions::of_role(Arc::clone(&sender))),
            revision: AtomicU32::new(0),
            sender,
            is_in_process,
            is_connected: AtomicBool::new(false),
            queue: Mutex::new(Queue::new(bounds)),
            waker: Arc::default(),
        }
    }

    pub(crate) fn key(&self) -> SessionKey {
        self.key
    }

    pub(crate) fn sender(&self) -> &Arc<Sender> {
        &self.sender
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.sender.identity
    }

    pub(crate) fn is_in_process(&self) -> bool {
        self.is_in_process
    }

    /// Whether an owner takes deliveries out now.
    pub(crate) fn is_connected(&self) -> bool {
        self.is_connected.load(Ordering::Acquire)
    }

    pub(crate) fn set_connected(&self, is_connected: bool) {
        self.is_connected.store(is_connected, Ordering::Release);
    }

    /// Whether it may be given messages of a topic.
    pub(crate) fn may_receive(&self, topic: &TopicName) -> bool {
        self.permissions.read().receive(topic)
    }

    /// What its client may do.
    pub(crate) fn permissions(&self) -> Permissions {
        self.permissions.read().clone()
    }

    /// Gives its client other permissions. Its owner has to be woken.
    pub(crate) fn permit(&self, permissions: Permissions) {
        *self.permissions.write() = permissions;
        self.revision.fetch_add(1, Ordering::AcqRel);
    }

    /// Rises with each change of the permissions.
    pub(crate) fn revision(&self) -> u32 {
        self.revision.load(Ordering::Acquire)
    }

    pub(crate) fn queue(&self) -> parking_lot::MutexGuard<'_, Queue> {
        self.queue.lock()
    }

    pub(crate) fn waker(&self) -> &Arc<AtomicWaker> {
        &self.waker
    }

    /// Has the owner look at its queue.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }
}
