//! A publisher that waits for a subscriber that has fallen behind, by not reading its own socket.
//!
//! While a subscriber is over three quarters of its bound every publisher waits for it, once and for a bounded moment.
//! If that was in vain, what it has no room for is dropped. From then on, until it has caught up, a publisher that has
//! dropped [`LAG_BYTES`] for it in one turn waits again, for a fraction of that moment: a flood slows down to
//! what TCP's buffers take in meanwhile, and a publisher of a few messages never waits. Nobody waits
//! for a subscriber that has taken nothing at all for a second.

use super::desk::Work;
use super::{Connection, Socket};
use crate::figures::Counters;
use crate::session::Session;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;
use tokio::time::Instant;

/// What a turn drops for a subscriber before its publisher waits again.
const LAG_BYTES: usize = 32 * 1024;

/// The part of the first wait that a later one takes.
const AGAIN_PART: u64 = 4;

/// A wait for a subscriber that has fallen behind.
pub(super) struct Stall {
    session: Arc<Session>,
    pub(super) until: Instant,
    /// Publishers have waited for it in vain before.
    is_again: bool,
}

impl<S: Socket> Connection<S> {
    /// Whether the publisher has to wait for a subscriber that has fallen behind.
    pub(super) fn is_stalled(&mut self, cx: &Context<'_>) -> bool {
        let Work { stall, .. } = self.desk.get();
        let Some(Stall { session, until, is_again }) = stall else { return false };
        let mut queue = session.queue();
        let has_room = queue.wait_for_room(cx.waker(), *is_again);
        if !has_room {
            let now = Instant::now();
            if now < *until {
                return true;
            }
            queue.give_up(now);
            let client = &session.sender().client_id;
            tracing::debug!(subscriber = %client, "a subscriber has fallen behind");
        }
        drop(queue);
        *stall = None;
        false
    }

    /// Waits for a subscriber from now on, if publishing has run into one that has fallen behind.
    pub(super) fn stall_if_pressed(&mut self) {
        let Work { outbox, stall, .. } = self.desk.get();
        let first = outbox.pressure.take().map(|session| (session, false));
        let again = || outbox.take_lag_of(LAG_BYTES).map(|session| (session, true));
        let Some((session, is_again)) = first.or_else(again) else { return };
        if stall.is_some() || Arc::ptr_eq(&session, &self.session) {
            return;
        }
        let now = Instant::now();
        if session.queue().is_stuck(now) {
            return;
        }
        let limits = &self.space.shared().limits;
        let wait_ms = match (session.is_in_process(), is_again) {
            (true, _) => limits.platform_wait_ms,
            (false, false) => limits.slow_subscriber_wait_ms,
            (false, true) => limits.slow_subscriber_wait_ms / AGAIN_PART,
        };
        Counters::add(&self.space.shared().counters.publisher_stalls, 1);
        let until = now + Duration::from_millis(wait_ms);
        *stall = Some(Stall { session, until, is_again });
    }
}
