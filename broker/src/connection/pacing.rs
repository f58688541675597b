//! A connection that keeps its client to a rate, by not reading its socket for a while.
//!
//! TCP passes that on: the client's own buffers fill, and it waits. Nothing is dropped, and what it has sent before
//! is still acted on in order. Connections without a rate neither look at a clock for this nor hold anything.

use super::{Connection, Socket};
use crate::figures::Counters;
use crate::overload::pace::Pace;
use std::sync::atomic::Ordering;
use tokio::time::Instant;

impl<S: Socket> Connection<S> {
    /// Whether it still has to pause.
    pub(super) fn is_paused(&mut self) -> bool {
        let Some(pace) = &mut self.pace else { return false };
        let Some(until) = pace.paused_until() else { return false };
        let now = Instant::now();
        if now < until {
            return true;
        }
        pace.resume();
        // While nobody listened the client could not be silent.
        self.last_heard = now;
        false
    }

    /// When its pause ends.
    pub(super) fn pause_ends(&self) -> Option<Instant> {
        self.pace.as_ref().and_then(|pace| pace.paused_until())
    }

    /// Counts a PUBLISH packet against the rate. Its namespace may have got one since the client came.
    pub(super) fn count_publish(&mut self, bytes: usize) {
        if self.pace.is_none() && self.space.quota().is_rated() {
            let own = self.space.shared().limits.publish_rate();
            self.pace = Pace::new(own, self.space.quota(), Instant::now());
        }
        if let Some(pace) = &mut self.pace {
            pace.count(bytes);
        }
    }

    /// Whether what else has come has to wait for the next turn.
    pub(super) fn has_had_its_turn(&self) -> bool {
        self.pace.as_ref().is_some_and(|pace| pace.is_turn_over())
    }

    /// Ends a turn; pauses if the client, or its namespace, has published more than its rate.
    pub(super) fn keep_pace(&mut self) {
        let Some(pace) = &mut self.pace else { return };
        let Some(pause) = pace.end_turn(Instant::now()) else { return };
        let counters = &self.space.shared().counters;
        let counter = match pause.is_of_namespace {
            true => &counters.namespace_publisher_pauses,
            false => &counters.publisher_pauses,
        };
        Counters::add(counter, 1);
        let micros = u64::try_from(pause.length.as_micros()).unwrap_or(u64::MAX);
        counters.publisher_pause_micros.fetch_add(micros, Ordering::Relaxed);
        if pause.is_first {
            let (client, of_namespace) = (&self.session.sender().client_id, pause.is_of_namespace);
            tracing::info!(%client, of_namespace, "over its rate, and slowed");
        }
    }
}
