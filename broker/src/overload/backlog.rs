//! What waits on the disk for the sessions of one namespace, in bytes.
//!
//! Each queue tells what it holds more or less. One that nobody has asked for since the start of the node is not read
//! yet and not counted; it is as soon as something more is to wait in it. Queues of the platform itself do not count.

use std::sync::atomic::{AtomicU64, Ordering};

/// See the module.
#[derive(Debug)]
pub(crate) struct Backlog {
    bytes: AtomicU64,
    /// `u64::MAX` if there is no bound.
    bytes_max: AtomicU64,
}

impl Default for Backlog {
    fn default() -> Self {
        Self { bytes: AtomicU64::new(0), bytes_max: AtomicU64::new(u64::MAX) }
    }
}

impl Backlog {
    /// A queue that held `before` holds `after`.
    pub(crate) fn moves(&self, before: u64, after: u64) {
        match after >= before {
            true => self.bytes.fetch_add(after - before, Ordering::Relaxed),
            false => self.bytes.fetch_sub(before - after, Ordering::Relaxed),
        };
    }

    /// What all of them hold.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Keeps to this bound from now on.
    pub(crate) fn keep_to(&self, bytes_max: Option<u64>) {
        self.bytes_max.store(bytes_max.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The bound, if it is reached.
    pub(crate) fn full(&self) -> Option<u64> {
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        (self.bytes() >= bytes_max).then_some(bytes_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_full_at_its_bound_and_has_room_when_a_queue_holds_less() {
        let backlog = Backlog::default();
        backlog.moves(0, 100);
        assert_eq!(backlog.full(), None);
        backlog.keep_to(Some(100));
        assert_eq!(backlog.full(), Some(100));
        backlog.moves(100, 60);
        assert_eq!((backlog.full(), backlog.bytes()), (None, 60));
        backlog.keep_to(Some(0));
        assert_eq!(backlog.full(), Some(0));
    }
}
