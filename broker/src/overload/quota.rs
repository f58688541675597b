//! What all clients of one namespace share: connections, new ones a second, sessions, what they publish in a second,
//! retained bytes, what waits on the disk.
//!
//! The bounds of the configuration are the operator's; what a project has of the pool of its tenant can only be less,
//! and changes while clients are connected.

use super::backlog::Backlog;
use super::rate::{Bucket, Budget, Load, Rate};
use crate::reason::Reason;
use parking_lot::Mutex;
use proto::Namespace;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
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

/// What a namespace has of the pool of its tenant; `None` sets no bound. The tighter of this and
/// [`NamespaceLimits`] counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NamespaceQuota {
    /// Clients connected at a time; who is connected when it becomes less stays.
    pub connections_max: Option<usize>,
    /// Messages that its clients publish in a second; past it they are slowed. 0 is taken for 1.
    pub publish_messages_per_sec_max: Option<u64>,
    /// Bytes of its retained messages; one that would be too much is refused with 0x97.
    pub retained_bytes_max: Option<usize>,
    /// Bytes of the messages that wait on the disk for its sessions; one that would have to wait then is refused with
    /// 0x97.
    pub queued_bytes_max: Option<u64>,
}

/// What is left of the bounds of one namespace.
#[derive(Debug)]
pub(crate) struct Quota {
    limits: NamespaceLimits,
    /// The tighter bounds of both; `usize::MAX` where there is none.
    connections_max: AtomicUsize,
    retained_bytes_max: AtomicUsize,
    rate: Mutex<Rate>,
    is_rated: AtomicBool,
    /// Counts the changes of the rate, so that a connection sees one without a lock.
    rate_changes: AtomicU32,
    connections: AtomicUsize,
    sessions: AtomicUsize,
    backlog: Arc<Backlog>,
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
        let rate = rate_of(limits, NamespaceQuota::default());
        Self {
            limits,
            connections_max: AtomicUsize::new(unless_0(limits.connections_max)),
            retained_bytes_max: AtomicUsize::new(usize::MAX),
            rate: Mutex::new(rate),
            is_rated: AtomicBool::new(!rate.is_unbounded()),
            rate_changes: AtomicU32::new(0),
            connections: AtomicUsize::new(0),
            sessions: AtomicUsize::new(0),
            backlog: Arc::default(),
            connects: Mutex::new(Bucket::new(connects_per_sec, now)),
            publishes: Mutex::new(Budget::new(rate, now)),
        }
    }

    /// Its limits.
    pub(crate) fn limits(&self) -> NamespaceLimits {
        self.limits
    }

    /// Clients that may be here at once, by its limits and by the quota of the project.
    pub(crate) fn connections_max(&self) -> usize {
        self.connections_max.load(Ordering::Relaxed)
    }

    /// Keeps to what the namespace has of the pool of its tenant from now on.
    pub(crate) fn keep_to(&self, quota: NamespaceQuota, now: Instant) {
        let connections_max = unless_0(self.limits.connections_max);
        let connections_max = connections_max.min(quota.connections_max.unwrap_or(usize::MAX));
        self.connections_max.store(connections_max, Ordering::Relaxed);
        let retained_bytes_max = quota.retained_bytes_max.unwrap_or(usize::MAX);
        self.retained_bytes_max.store(retained_bytes_max, Ordering::Relaxed);
        self.backlog.keep_to(quota.queued_bytes_max);
        let rate = rate_of(self.limits, quota);
        let mut current = self.rate.lock();
        if *current == rate {
            return;
        }
        *current = rate;
        *self.publishes.lock() = Budget::new(rate, now);
        self.is_rated.store(!rate.is_unbounded(), Ordering::Relaxed);
        self.rate_changes.fetch_add(1, Ordering::Release);
    }

    /// A place for a client. Who `takes_over` its own session has one in any case, since another will be left.
    pub(crate) fn enter(self: &Arc<Self>, takes_over: bool, now: Instant) -> Result<Seat, Reason> {
        if self.limits.connects_per_sec_max > 0 && !self.connects.lock().take(now) {
            return Err(Reason::ConnectionRateExceeded);
        }
        let max = match takes_over {
            true => usize::MAX,
            false => self.connections_max.load(Ordering::Relaxed),
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
        *self.rate.lock()
    }

    /// Whether what its clients publish is bounded at all.
    pub(crate) fn is_rated(&self) -> bool {
        self.is_rated.load(Ordering::Relaxed)
    }

    /// How often its rate has changed.
    pub(crate) fn rate_changes(&self) -> u32 {
        self.rate_changes.load(Ordering::Acquire)
    }

    /// The bytes that its retained messages may have.
    pub(crate) fn retained_bytes_max(&self) -> usize {
        self.retained_bytes_max.load(Ordering::Relaxed)
    }

    /// What waits on the disk for its sessions.
    pub(crate) fn backlog(&self) -> &Arc<Backlog> {
        &self.backlog
    }

    /// A client has published; says until when it should not go on.
    pub(crate) fn spend(&self, load: Load, now: Instant) -> Option<Instant> {
        self.publishes.lock().spend(load, now)
    }
}

/// The tighter rate of both; 0 is no bound.
fn rate_of(limits: NamespaceLimits, quota: NamespaceQuota) -> Rate {
    let share = quota.publish_messages_per_sec_max.map(|share| share.max(1));
    let messages_per_sec = match (limits.publish_messages_per_sec_max, share) {
        (max, None) => max,
        (0, Some(share)) => share,
        (max, Some(share)) => max.min(share),
    };
    Rate { messages_per_sec, bytes_per_sec: limits.publish_bytes_per_sec_max }
}

fn unless_0(max: usize) -> usize {
    if max == 0 { usize::MAX } else { max }
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
    fn the_tighter_of_configuration_and_share_counts_and_changes_while_running() {
        let now = Instant::now();
        let limits = NamespaceLimits {
            connections_max: 2,
            publish_messages_per_sec_max: 100,
            ..NamespaceLimits::default()
        };
        let quota = Arc::new(Quota::new(limits, now));
        let share = |connections_max, publish_messages_per_sec_max| NamespaceQuota {
            connections_max,
            publish_messages_per_sec_max,
            retained_bytes_max: Some(7),
            queued_bytes_max: Some(5),
        };
        let _first = quota.enter(false, now).unwrap();
        quota.keep_to(share(Some(1), Some(10)), now);
        assert_eq!(quota.enter(false, now).unwrap_err(), Reason::QuotaExceeded);
        assert_eq!((quota.publish_rate().messages_per_sec, quota.rate_changes()), (10, 1));
        assert_eq!(quota.retained_bytes_max(), 7);
        quota.backlog().moves(0, 5);
        assert_eq!(quota.backlog().full(), Some(5));
        quota.keep_to(share(Some(9), Some(1000)), now);
        let _second = quota.enter(false, now).unwrap();
        assert_eq!(quota.enter(false, now).unwrap_err(), Reason::QuotaExceeded, "the operator's");
        assert_eq!((quota.publish_rate().messages_per_sec, quota.rate_changes()), (100, 2));
        quota.keep_to(share(Some(0), None), now);
        assert_eq!(quota.enter(false, now).unwrap_err(), Reason::QuotaExceeded);
        assert_eq!(quota.rate_changes(), 2, "the rate is as it was");
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
