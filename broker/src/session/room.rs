//! The room that a member of a group has, as its groups see it (MQTT 5.0 4.9).

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// See the module.
#[derive(Debug)]
pub(crate) struct Room {
    /// Deliveries taken out of the queue and not acknowledged.
    held: AtomicUsize,
    is_wanted: AtomicBool,
    /// Groups with a message for which there was no room; each stands here once.
    wanted_by: Mutex<Vec<Arc<AtomicWaker>>>,
}

impl Default for Room {
    /// None, until the owner has said how much it holds.
    fn default() -> Self {
        Self {
            held: AtomicUsize::new(usize::MAX),
            is_wanted: AtomicBool::new(false),
            wanted_by: Mutex::default(),
        }
    }
}

impl Room {
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    pub(super) fn hold(&self, held: usize) {
        self.held.store(held, Ordering::SeqCst);
        if self.is_wanted.swap(false, Ordering::SeqCst) {
            self.wanted_by.lock().drain(..).for_each(|waker| waker.wake());
        }
    }

    /// Wakes `waker` when the owner next says how much it holds.
    pub(crate) fn want(&self, waker: &Arc<AtomicWaker>) {
        let mut wanted_by = self.wanted_by.lock();
        if !wanted_by.iter().any(|it| Arc::ptr_eq(it, waker)) {
            wanted_by.push(Arc::clone(waker));
        }
        self.is_wanted.store(true, Ordering::SeqCst);
    }
}
