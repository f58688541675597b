//! Clients whose proof is good for a time: when it is over they are told so (0xA0) and go.
//!
//! One entry for each such connection; a client that has proved itself anew meanwhile is entered again when its
//! entry comes up.

use crate::live::Live;
use crate::reason::Reason;
use crate::session::Session;
use crate::space::Shared;
use parking_lot::Mutex;
use proto::TimestampMs;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// How often the clock is looked at while anybody is entered.
const TICK: Duration = Duration::from_millis(200);

/// Entries beyond twice those that were alive at the last look, before the dead are sought out.
const DEAD_MIN: usize = 1024;

/// See the module.
pub(crate) struct Expiries {
    entries: Mutex<Entries>,
    is_needed: Notify,
}

#[derive(Default)]
struct Entries {
    heap: BinaryHeap<Reverse<Entry>>,
    /// How many were alive when the dead were sought out last.
    alive: usize,
}

struct Entry {
    at: u64,
    live: Weak<Live>,
    session: Weak<Session>,
}

impl Expiries {
    /// Watches the clock for as long as the broker is there. Must run inside a tokio runtime.
    pub(crate) fn start(shared: Arc<Shared>) -> Arc<Self> {
        let expiries = Arc::new(Self { entries: Mutex::default(), is_needed: Notify::new() });
        tokio::spawn(watch(Arc::downgrade(&expiries), shared));
        expiries
    }

    /// Enters a connection whose `live` says when its time is over.
    pub(crate) fn enter(&self, live: &Arc<Live>, session: &Arc<Session>) {
        let Some(at) = live.expires_at() else { return };
        let mut entries = self.entries.lock();
        if entries.heap.len() >= 2 * entries.alive + DEAD_MIN {
            entries.heap.retain(|Reverse(entry)| entry.live.strong_count() > 0);
            entries.alive = entries.heap.len();
        }
        let entry =
            Entry { at: at.0, live: Arc::downgrade(live), session: Arc::downgrade(session) };
        entries.heap.push(Reverse(entry));
        drop(entries);
        self.is_needed.notify_one();
    }

    /// Ends those whose time is over; `false` if nobody is entered.
    fn end(&self, now: TimestampMs) -> bool {
        let mut entries = self.entries.lock();
        while entries.heap.peek().is_some_and(|Reverse(first)| first.at <= now.0) {
            let Some(Reverse(entry)) = entries.heap.pop() else { break };
            let (Some(live), Some(session)) = (entry.live.upgrade(), entry.session.upgrade())
            else {
                continue;
            };
            match live.expires_at() {
                Some(later) if later > now => {
                    entries.heap.push(Reverse(Entry { at: later.0, ..entry }));
                }
                Some(_) => {
                    live.stop(Reason::MaximumConnectTime);
                    session.wake();
                }
                None => {}
            }
        }
        !entries.heap.is_empty()
    }
}

async fn watch(expiries: Weak<Expiries>, shared: Arc<Shared>) {
    loop {
        let Some(known) = expiries.upgrade() else { return };
        let is_any = known.end(shared.clock.now());
        match is_any {
            true => {
                drop(known);
                tokio::time::sleep(TICK).await;
            }
            // Held on to until somebody is entered: the broker lives as long as its runtime.
            false => known.is_needed.notified().await,
        }
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}
