//! What the gateway counts.

use axum::http::StatusCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the start, and what is there now.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    done: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    in_flight: AtomicU64,
    crowded: AtomicU64,
    timed_out: AtomicU64,
}

/// A request that is under way, until it is dropped, however it ends.
pub(super) struct InFlight(Arc<Counters>);

impl Counters {
    /// Answers with status 2xx, 4xx and 5xx.
    pub(crate) fn answers(&self) -> [u64; 3] {
        [&self.done, &self.refused, &self.failed].map(|it| it.load(Ordering::Relaxed))
    }

    /// Requests now.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Requests for which there was no room.
    pub(crate) fn crowded(&self) -> u64 {
        self.crowded.load(Ordering::Relaxed)
    }

    /// Requests that took too long.
    pub(crate) fn timed_out(&self) -> u64 {
        self.timed_out.load(Ordering::Relaxed)
    }

    pub(super) fn answer(&self, status: StatusCode) {
        let counter = match status.as_u16() {
            500.. => &self.failed,
            400.. => &self.refused,
            _ => &self.done,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn crowd(&self) {
        self.crowded.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn time_out(&self) {
        self.timed_out.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
