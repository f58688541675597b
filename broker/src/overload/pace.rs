//! How a publisher is kept to its rate, and to its share of its namespace's: it is not read from for a while.
//!
//! A turn of a connection takes at most a small quantum, then spends it. Whoever has overdrawn a budget waits until
//! it is even again, and then has one more turn whatever others have spent meanwhile. So publishers of one namespace
//! come round in turns: a greedy one has its quantum and stands behind all others, and none waits for ever.

use super::quota::Quota;
use super::rate::{Budget, Load, Rate};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Turns that a rate is cut into for one second: a turn of each of fifty greedy publishers makes a round of a second.
const TURNS_PER_SEC: u64 = 50;

/// The shortest pause: each costs a timer and a wake-up, and what comes in meanwhile passes at once afterwards.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// See the module. A connection without a rate has none.
#[derive(Debug)]
pub(crate) struct Pace {
    own: Budget,
    own_rate: Rate,
    of_namespace: Arc<Quota>,
    /// The changes of the rate of the namespace that the quantum knows of.
    rate_changes: u32,
    quantum: Load,
    used: Load,
    paused_until: Option<Instant>,
    /// Whether it was said that this client is over its rate.
    is_told: bool,
}

/// A publisher has to pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pause {
    pub(crate) length: Duration,
    /// Whether it is the namespace that is over its rate, and not the client.
    pub(crate) is_of_namespace: bool,
    /// Whether it is the first of this connection.
    pub(crate) is_first: bool,
}

impl Pace {
    /// That of a new connection; `None` if nothing bounds it.
    pub(crate) fn new(own: Rate, quota: &Arc<Quota>, now: Instant) -> Option<Box<Self>> {
        if own.is_unbounded() && !quota.is_rated() {
            return None;
        }
        Some(Box::new(Self {
            own: Budget::new(own, now),
            own_rate: own,
            rate_changes: quota.rate_changes(),
            quantum: quantum(own, quota.publish_rate()),
            of_namespace: Arc::clone(quota),
            used: Load::default(),
            paused_until: None,
            is_told: false,
        }))
    }

    /// A message of this turn.
    pub(crate) fn count(&mut self, bytes: usize) {
        self.used.messages += 1;
        self.used.bytes += bytes as u64;
    }

    /// Whether this turn has had its quantum; a packet passes however long it is.
    pub(crate) fn is_turn_over(&self) -> bool {
        self.used.messages >= self.quantum.messages || self.used.bytes >= self.quantum.bytes
    }

    /// Ends a turn. The pause, if one has to follow.
    pub(crate) fn end_turn(&mut self, now: Instant) -> Option<Pause> {
        let used = std::mem::take(&mut self.used);
        if used.messages == 0 {
            return None;
        }
        let own = self.own.spend(used, now);
        let quota = &self.of_namespace;
        let of_namespace = if quota.is_rated() { quota.spend(used, now) } else { None };
        if self.rate_changes != quota.rate_changes() {
            self.rate_changes = quota.rate_changes();
            self.quantum = quantum(self.own_rate, quota.publish_rate());
        }
        let until = own.max(of_namespace)?.max(now + PAUSE_MIN);
        self.paused_until = Some(until);
        Some(Pause {
            length: until - now,
            is_of_namespace: of_namespace > own,
            is_first: !std::mem::replace(&mut self.is_told, true),
        })
    }

    /// Until when it pauses.
    pub(crate) fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    /// The pause is over.
    pub(crate) fn resume(&mut self) {
        self.paused_until = None;
    }
}

/// What a turn takes at most.
fn quantum(own: Rate, of_namespace: Rate) -> Load {
    let of = |rate: u64| if rate == 0 { u64::MAX } else { (rate / TURNS_PER_SEC).max(1) };
    Load {
        messages: of(own.messages_per_sec).min(of(of_namespace.messages_per_sec)),
        bytes: of(own.bytes_per_sec).min(of(of_namespace.bytes_per_sec)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::quota::NamespaceLimits;
    use super::*;

    fn quota(publish_messages_per_sec_max: u64) -> Arc<Quota> {
        let limits = NamespaceLimits { publish_messages_per_sec_max, ..Default::default() };
        Arc::new(Quota::new(limits, Instant::now()))
    }

    fn messages(messages_per_sec: u64) -> Rate {
        Rate { messages_per_sec, bytes_per_sec: 0 }
    }

    /// Lets every pace publish as much as it may for some seconds; how many messages each got through.
    fn race(paces: &mut [Box<Pace>], secs: u64) -> Vec<u64> {
        let start = Instant::now();
        let mut passed = vec![0; paces.len()];
        for step in 0..secs * 1000 {
            let now = start + Duration::from_millis(step);
            for (pace, passed) in paces.iter_mut().zip(&mut passed) {
                if pace.paused_until().is_some_and(|until| until > now) {
                    continue;
                }
                pace.resume();
                while !pace.is_turn_over() {
                    pace.count(1);
                    *passed += 1;
                }
                pace.end_turn(now);
            }
        }
        passed
    }

    #[test]
    fn without_a_rate_there_is_nothing() {
        assert!(Pace::new(Rate::default(), &quota(0), Instant::now()).is_none());
    }

    #[test]
    fn a_client_keeps_to_its_rate() {
        for rate in [1, 3, 100, 5000] {
            let mut paces = [Pace::new(messages(rate), &quota(0), Instant::now()).unwrap()];
            let passed = race(&mut paces, 10)[0];
            assert!((rate * 10..=rate * 11 + rate / 50 + 1).contains(&passed), "{rate}: {passed}");
        }
    }

    #[test]
    fn clients_of_a_namespace_share_its_rate_in_turns() {
        let quota = quota(1000);
        let now = Instant::now();
        let mut paces: Vec<_> =
            (0..10).map(|_| Pace::new(Rate::default(), &quota, now).unwrap()).collect();
        let passed = race(&mut paces, 20);
        let sum: u64 = passed.iter().sum();
        assert!((20_000..=21_400).contains(&sum), "{passed:?}");
        assert!(passed.iter().all(|it| (1500..=2500).contains(it)), "{passed:?}");
    }

    #[test]
    fn a_long_packet_passes_and_is_paid_for() {
        let now = Instant::now();
        let rate = Rate { messages_per_sec: 0, bytes_per_sec: 1000 };
        let mut pace = Pace::new(rate, &quota(0), now).unwrap();
        assert!(!pace.is_turn_over());
        pace.count(5000);
        assert!(pace.is_turn_over());
        let pause = pace.end_turn(now).unwrap();
        assert_eq!(pause.length, Duration::from_secs(4));
        assert!(pause.is_first && !pause.is_of_namespace);
    }

    #[test]
    fn a_turn_without_messages_costs_nothing() {
        let mut pace = Pace::new(messages(1), &quota(0), Instant::now()).unwrap();
        for _ in 0..100 {
            assert_eq!(pace.end_turn(Instant::now()), None);
        }
    }
}
