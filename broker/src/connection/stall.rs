//! A publisher that waits for a subscriber that has fallen behind, by not reading its own socket.
//!
//! While a subscriber is over three quarters of its bound every publisher waits for it, once and for a bounded moment.
//! If that was in vain, what it has no room for is dropped. From then on, until it has caught up, a publisher that has
//! dropped [`LAG_BYTES`] for it in one turn waits again, for a fraction of that moment: a flood slows down to
//! what TCP's buffers take in meanwhile, and a publisher of a few messages never waits. These waits differ from one
//! publisher to another, so that those of a flood do not all come back at once and keep their worker from everybody
//! else. Nobody waits for a subscriber that has taken nothing at all for a second.

use super::desk::Work;
use super::{Connection, Socket};
use crate::figures::Counters;
use crate::session::Session;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;
use tokio::time::Instant;

/// What a turn drops for a subscriber before its publisher waits again.
const LAG_BYTES: usize = 16 * 1024;

/// The part of the first wait that a later one takes, in the middle.
const AGAIN_PART: u64 = 8;

/// Into so many parts a later wait falls, of which between three quarters and five quarters are waited.
const AGAIN_STEPS: u64 = 16;

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
        let whole = Duration::from_millis(match session.is_in_process() {
            true => limits.platform_wait_ms,
            false => limits.slow_subscriber_wait_ms,
        });
        let wait = match is_again && !session.is_in_process() {
            true => again_wait(whole, self.live.number),
            false => whole,
        };
        Counters::add(&self.space.shared().counters.publisher_stalls, 1);
        let until = now + wait;
        *stall = Some(Stall { session, until, is_again });
    }
}

/// How long the publisher with this number waits for a subscriber once more.
fn again_wait(whole: Duration, number: u64) -> Duration {
    let steps = AGAIN_STEPS * 3 / 4 + number % (AGAIN_STEPS / 2 + 1);
    let nanos = whole.as_nanos() * u128::from(steps) / u128::from(AGAIN_PART * AGAIN_STEPS);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_publishers_of_a_flood_wait_for_times_that_differ() {
        let whole = Duration::from_millis(100);
        let waits: Vec<u128> = (1..=9).map(|it| again_wait(whole, it).as_micros()).collect();
        let distinct: std::collections::BTreeSet<_> = waits.iter().collect();
        assert_eq!(distinct.len(), 9, "{waits:?}");
        assert_eq!((distinct.first(), distinct.last()), (Some(&&9375), Some(&&15625)));
    }
}
