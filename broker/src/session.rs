//! A session as publishers see it: an address with a bounded queue (MQTT 5.0 4.1).
//!
//! A [`Session`] is shared by everybody who routes to it. Its owner, a connection task or an in-process client,
//! takes deliveries out; between connections a durable session has no owner and its deliveries wait in the store.
//! What only the owner knows (packet identifiers, receive maximum) is in [`machine`], plain state without I/O.

pub(crate) mod acks;
pub(crate) mod aliases;
pub(crate) mod drops;
pub(crate) mod inflight;
pub(crate) mod machine;
pub(crate) mod queue;
pub(crate) mod received;
mod room;

use crate::auth::Proof;
use crate::message::Sender;
use crate::overload::backlog::Backlog;
use crate::permissions::Permissions;
use futures_util::task::AtomicWaker;
use parking_lot::{Mutex, RwLock};
use proto::{Identity, Qos, TopicName};
use queue::{Bounds, Queue};
use room::Room;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use store::{SessionKey, Store};

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
    /// Deliveries of QoS 1 and 2 that its client takes at once; 0 while there is none.
    window: AtomicUsize,
    /// Only a member of a group has one.
    room: OnceLock<Box<Room>>,
    /// Wakes the owner; shared with the acknowledgements that the owner waits for.
    waker: Arc<AtomicWaker>,
}

impl Session {
    pub(crate) fn new(
        key: SessionKey,
        sender: Arc<Sender>,
        is_in_process: bool,
        bounds: Arc<Bounds>,
        backlog: &Arc<Backlog>,
    ) -> Self {
        let backlog = (!is_in_process).then(|| Arc::clone(backlog));
        Self {
            key,
            permissions: RwLock::new(Permissions::of_role(Arc::clone(&sender))),
            revision: AtomicU32::new(0),
            sender,
            is_in_process,
            is_connected: AtomicBool::new(false),
            queue: Mutex::new(Queue::new(bounds, backlog)),
            window: AtomicUsize::new(0),
            room: OnceLock::new(),
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
        if !is_connected {
            self.window.store(0, Ordering::Release);
        }
    }

    /// Its client is ready to be sent `window` deliveries at once, and has not acknowledged `held` from before.
    pub(crate) fn set_window(&self, window: usize, held: usize) {
        self.window.store(window, Ordering::Release);
        self.hold(held);
    }

    /// How many deliveries the owner has taken out and the client has not acknowledged; wakes groups that wait for it.
    pub(crate) fn hold(&self, held: usize) {
        if let Some(room) = self.room.get() {
            room.hold(held);
        }
    }

    /// What groups know of the room it has; unknown at first, until the owner has its next turn.
    pub(crate) fn room(&self) -> &Room {
        self.room.get_or_init(Box::default)
    }

    /// Whether a delivery of this QoS would be sent at once.
    pub(crate) fn has_room(&self, qos: Qos) -> bool {
        if !self.is_connected() {
            return false;
        }
        let queue = self.queue();
        if qos == Qos::AtMostOnce {
            return !queue.is_over_watermark();
        }
        let Some(room) = self.room.get() else { return false };
        let held = room.held().saturating_add(queue.len());
        !queue.is_spilled() && held < self.window.load(Ordering::Acquire)
    }

    /// Whether it may be given messages of a topic.
    pub(crate) fn may_receive(&self, topic: &TopicName) -> bool {
        self.permissions.read().receive(topic)
    }

    /// Whether its client has shown nothing of who it is.
    pub(crate) fn is_of_stranger(&self) -> bool {
        self.permissions.read().proof == Proof::Nothing
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

    /// The queue, with what the store holds for it known.
    pub(crate) fn read_queue(&self, store: &Store) -> parking_lot::MutexGuard<'_, Queue> {
        let mut queue = self.queue.lock();
        if queue.is_unread() {
            match store.read().and_then(|it| it.queue_stat(self.key)) {
                Ok(stat) => queue.restore(stat.count, stat.bytes, stat.last_seq),
                Err(error) => {
                    tracing::error!(client = %self.sender.client_id, %error, "cannot read a queue");
                }
            }
        }
        queue
    }

    pub(crate) fn waker(&self) -> &Arc<AtomicWaker> {
        &self.waker
    }

    /// Has the owner look at its queue.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }
}
