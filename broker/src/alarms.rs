//! One clock for all connections: each is woken at about the time it has named.
//!
//! A timer of the runtime for each of a hundred thousand clients would take more memory than the rest of a resting
//! connection needs, and keep alive asks for no better than a second. An alarm is one entry in one ordered map, and
//! rings up to [`TICK`] late, never early.

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How often the clock is looked at while anybody waits.
const TICK: Duration = Duration::from_millis(200);

/// See the module.
#[derive(Debug)]
pub(crate) struct Alarms {
    epoch: Instant,
    waiting: Mutex<BTreeMap<(Alarm, Number), Arc<AtomicWaker>>>,
    is_needed: Notify,
}

/// When an alarm rings: it does so once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Alarm(NonZeroU64);

/// Whose alarm: the number of a connection, which has one at a time.
type Number = u64;

impl Alarms {
    /// Nobody waits yet. Must be made inside a tokio runtime.
    pub(crate) fn start() -> Arc<Self> {
        let alarms = Arc::new(Self {
            epoch: Instant::now(),
            waiting: Mutex::default(),
            is_needed: Notify::new(),
        });
        tokio::spawn(watch(Arc::downgrade(&alarms)));
        alarms
    }

    /// Has `waker` woken once `at` has come. A connection has one alarm at a time.
    pub(crate) fn set(&self, at: Instant, number: Number, waker: &Arc<AtomicWaker>) -> Alarm {
        let alarm = self.after(at);
        let mut waiting = self.waiting.lock();
        let is_first = waiting.is_empty();
        waiting.insert((alarm, number), Arc::clone(waker));
        drop(waiting);
        if is_first {
            self.is_needed.notify_one();
        }
        alarm
    }

    /// Whether an alarm has rung, or is about to.
    pub(crate) fn is_due(&self, alarm: Alarm, now: Instant) -> bool {
        alarm.0.get() <= self.ticks(now)
    }

    /// Nobody is to be woken any more.
    pub(crate) fn cancel(&self, alarm: Alarm, number: Number) {
        self.waiting.lock().remove(&(alarm, number));
    }

    /// Wakes those whose time has come; `false` if nobody waits any more.
    fn ring(&self, now: Instant) -> bool {
        let later = (self.after(now), Number::MIN);
        let mut waiting = self.waiting.lock();
        let rest = waiting.split_off(&later);
        let due = std::mem::replace(&mut *waiting, rest);
        let is_awaited = !waiting.is_empty();
        drop(waiting);
        due.values().for_each(|waker| waker.wake());
        is_awaited
    }

    /// The first tick after `at`.
    fn after(&self, at: Instant) -> Alarm {
        Alarm(NonZeroU64::MIN.saturating_add(self.ticks(at)))
    }

    fn ticks(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.epoch);
        u64::try_from(since.as_millis() / TICK.as_millis()).unwrap_or(u64::MAX - 1)
    }
}

async fn watch(alarms: Weak<Alarms>) {
    loop {
        let Some(strong) = alarms.upgrade() else { return };
        if !strong.ring(Instant::now()) {
            // Whoever sets the first alarm says so; now and then it is seen whether the broker is still there.
            let _ = tokio::time::timeout(100 * TICK, strong.is_needed.notified()).await;
        }
        drop(strong);
        tokio::time::sleep(TICK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Wake, Waker};

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn sleeper() -> (Arc<Count>, Arc<AtomicWaker>) {
        let count = Arc::new(Count::default());
        let waker = Arc::new(AtomicWaker::new());
        waker.register(&Waker::from(Arc::clone(&count)));
        (count, waker)
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_rings_once_and_not_early() {
        let alarms = Alarms::start();
        let (first, first_waker) = sleeper();
        let (second, second_waker) = sleeper();
        let wait = Duration::from_secs(3);
        let alarm = alarms.set(Instant::now() + wait, 1, &first_waker);
        alarms.set(Instant::now() + 2 * wait, 2, &second_waker);
        tokio::time::sleep(wait).await;
        assert!(!alarms.is_due(alarm, Instant::now() - TICK));
        assert_eq!(first.0.load(Ordering::Relaxed), 0);
        tokio::time::sleep(3 * TICK).await;
        assert!(alarms.is_due(alarm, Instant::now()));
        assert_eq!(first.0.load(Ordering::Relaxed), 1);
        assert_eq!(second.0.load(Ordering::Relaxed), 0);
        tokio::time::sleep(2 * wait).await;
        assert_eq!(second.0.load(Ordering::Relaxed), 1);
        assert!(alarms.waiting.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_alarm_leaves_nothing_behind() {
        let alarms = Alarms::start();
        let (count, waker) = sleeper();
        let alarm = alarms.set(Instant::now() + TICK, 1, &waker);
        alarms.cancel(alarm, 1);
        assert!(alarms.waiting.lock().is_empty());
        assert_eq!(Arc::strong_count(&waker), 1);
        tokio::time::sleep(10 * TICK).await;
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
    }
}
