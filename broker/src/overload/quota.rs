//! What all clients of one namespace share: connections, new ones a second, sessions, what they publish in a second.

use super::rate::{Bucket, Budget, Load, Rate};
use crate::reason::Reason;
use parking_lot::Mutex;
use proto::Namespace;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::time::Instant;

/// The bounds of one namespace; 0 sets none. Parts of the platform do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NamespaceLimits {
    /// Clients connected at a time; further ones are refused with 0x97 (MQTT 5.0 3.2.2.2).
    pub connections_max: usize,
    /// Clients that connect in a second; further ones are refused with 0x9F.
    pub connects_per_sec_max: u32,
    /// Sessions, connected or not; clients that would begin a further one are refused with 0x97.
    pub sessions_max: usize,
    /// Messages that its clients publish in a second; past it they are slowed.
    pub publish_messages_per_sec_max: u64,
    /// Bytes of PUBLISH packets of its clients in a second; past it they are slowed.
    pub publish_bytes_per_sec_max: u64,
}

/// What bounds each namespace.
#[derive(Debug, Clone, Default)]
pub struct Quotas {
    /// For a namespace that is not named.
    pub usual: NamespaceLimits,
    /// For those that are.
    pub namespaces: BTreeMap<Namespace, NamespaceLimits>,
}

impl Quotas {
    /// The bounds of a namespace.
    pub(crate) fn of(&self, namespace: &Namespace) -> NamespaceLimits {
        self.namespaces.get(namespace).copied().unwrap_or(self.usual)
    }
}

/// What is left of the bounds of one namespace.
#[derive(Debug)]
pub(crate) struct Quota {
    limits: NamespaceLimits,
    connections: AtomicUsize,
    sessions: AtomicUsize,
    connects: Mutex<Bucket>,
    /// Locked once for each turn of a connection that has published.
    publishes: Mutex<Budget>,
}

/// The place of one client, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Quota>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Quota {
    /// All of it.
    pub(crate) fn new(limits: NamespaceLimits, now: Instant) -> Self {
        let connects_per_sec = limits.connects_per_sec_max.into();
        Self {
            limits,
            connections: AtomicUsize::new(0),
            sessions: AtomicUsize::new(0),
            connects: Mutex::new(Bucket::new(connects_per_sec, now)),
            publishes: Mutex::new(Budget::new(publish_rate(limits), now)),
        }
    }

    /// Its limits.
    pub(crate) fn limits(&self) -> NamespaceLimits {
        self.limits
    }

    /// A place for a client. Who `takes_over` its own session has one in any case, since another will be left.
    pub(crate) fn enter(self: &Arc<Self>, takes_over: bool, now: Instant) -> Result<Seat, Reason> {
        if self.limits.connects_per_sec_max > 0 && !self.connects.lock().take(now) {
            return Err(Reason::ConnectionRateExceeded);
        }
        let max = match self.limits.connections_max {
            0 => usize::MAX,
            _ if takes_over => usize::MAX,
            max => max,
        };
        let enter = |count| (count < max).then_some(count + 1);
        match self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enter) {
            Ok(_) => Ok(Seat(Arc::clone(self))),
            Err(_) => Err(Reason::QuotaExceeded),
        }
    }

    /// A place for a client that no bound keeps out.
    pub(crate) fn enter_freely(self: &Arc<Self>) -> Seat {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Seat(Arc::clone(self))
    }

    /// Whether there is room for one more session.
    pub(crate) fn has_session_room(&self) -> bool {
        let max = self.limits.sessions_max;
        max == 0 || self.sessions.load(Ordering::Relaxed) < max
    }

    /// A session has begun; told under the lock of the sessions.
    pub(crate) fn session_began(&self) {
        self.sessions.fetch_add(1, Ordering::Relaxed);
    }

    /// A session has ended; told under the lock of the sessions.
    pub(crate) fn session_ended(&self) {
        self.sessions.fetch_sub(1, Ordering::Relaxed);
    }

    /// What its clients may publish in a second.
    pub(crate) fn publish_rate(&self) -> Rate {
        publish_rate(self.limits)
    }

    /// A client has published; says until when it should not go on.
    pub(crate) fn spend(&self, load: Load, now: Instant) -> Option<Instant> {
        self.publishes.lock().spend(load, now)
    }
}

fn publish_rate(limits: NamespaceLimits) -> Rate {
    Rate {
        messages_per_sec: limits.publish_messages_per_sec_max,
        bytes_per_sec: limits.publish_bytes_per_sec_max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_up_to_the_bound_and_given_back() {
        let now = Instant::now();
        let limits = NamespaceLimits { connections_max: 2, ..NamespaceLimits::default() };
        let quota = Arc::new(Quota::new(limits, now));
        let first = quota.enter(false, now).unwrap();
        let _second = quota.enter(false, now).unwrap();
        assert_eq!(quota.enter(false, now).unwrap_err(), Reason::QuotaExceeded);
        let taking_over = quota.enter(true, now).unwrap();
        drop(first);
        assert_eq!(quota.enter(false, now).unwrap_err(), Reason::QuotaExceeded);
        drop(taking_over);
        let _third = quota.enter(false, now).unwrap();
        drop(quota.enter_freely());
        assert_eq!(quota.connections.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn connects_have_a_rate() {
        let now = Instant::now();
        let limits = NamespaceLimits { connects_per_sec_max: 2, ..NamespaceLimits::default() };
        let quota = Arc::new(Quota::new(limits, now));
        assert!(quota.enter(false, now).is_ok() && quota.enter(true, now).is_ok());
        assert_eq!(quota.enter(true, now).unwrap_err(), Reason::ConnectionRateExceeded);
        drop(quota.enter_freely());
    }
}
