//! Publishers that wait for the owner of a queue, or have waited, while it has not caught up.

use std::task::Waker;
use std::time::Duration;
use tokio::time::Instant;

/// An owner that takes nothing for so long, while publishers wait for it, is not waited for any more. Sockets hold
/// much, and take more only when a good part of that has gone.
const STUCK_AFTER: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Jam {
    waiting: Vec<Waker>,
    /// Somebody has waited in vain.
    is_lagging: bool,
    /// Since when the owner has taken nothing although somebody waited.
    vain_since: Option<Instant>,
}

impl Jam {
    /// Somebody waits: once, however often it asks.
    pub(super) fn wait(&mut self, waker: &Waker) {
        if !self.waiting.iter().any(|it| it.will_wake(waker)) {
            self.waiting.push(waker.clone());
        }
    }

    /// Lets everybody go on.
    pub(super) fn release(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }

    /// The owner has taken something.
    pub(super) fn moves(&mut self) {
        self.vain_since = None;
    }

    /// Somebody has waited in vain: those who wait for the first time are let go.
    pub(super) fn give_up(&mut self, now: Instant) {
        self.vain_since.get_or_insert(now);
        if !std::mem::replace(&mut self.is_lagging, true) {
            self.release();
        }
    }

    /// Whether somebody has waited in vain.
    pub(super) fn is_lagging(&self) -> bool {
        self.is_lagging
    }

    /// Whether it is not worth waiting for the owner.
    pub(super) fn is_stuck(&self, now: Instant) -> bool {
        self.vain_since.is_some_and(|since| now.duration_since(since) >= STUCK_AFTER)
    }
}
