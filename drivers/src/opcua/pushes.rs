//! What a server pushes, on its way from the library to whoever holds the subscription.
//!
//! The library calls the [listener](super::listener) from the task that drives the connection, which must not wait, so
//! values go through a queue. If it
//! grows too long, values that are followed by newer ones of the same point are let go and counted; the last one of a
//! point stays. Of events the oldest go. A subscription from which nothing has come for long, not even a keep-alive, is
//! a lost connection, whatever the transport says.

use super::link::Pulse;
use crate::port::{Event, Lost, PointRead, Pushed, Subscription};
use futures_util::StreamExt as _;
use opcua::types::StatusCode;
use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::sleep_until;

/// Values that wait, before those that are followed by newer ones are let go; and as many more as there are points.
const WAITING_MAX: usize = 20_000;
/// Events that wait, before the oldest are let go.
const EVENTS_WAITING_MAX: usize = 10_000;
/// The most values handed over at once, and the most events.
const BATCH_MAX: usize = 4096;

/// Values that wait for whoever holds the subscription.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<VecDeque<PointRead>>,
    events: Mutex<VecDeque<Event>>,
    arrived: Notify,
    ended: Mutex<Option<StatusCode>>,
    /// Values read well, failed, and let go; events that came, and those let go.
    pub(crate) tally: [AtomicU64; 5],
}

impl Queue {
    /// Takes values in, in order.
    pub(crate) fn push(&self, values: impl IntoIterator<Item = PointRead>, points: usize) {
        let mut waiting = lock(&self.waiting);
        for value in values {
            let counter = if value.1.is_ok() { 0 } else { 1 };
            self.tally[counter].fetch_add(1, Ordering::Relaxed);
            waiting.push_back(value);
        }
        if waiting.len() > WAITING_MAX + points {
            let before = waiting.len();
            let mut seen = HashSet::new();
            let mut last: Vec<PointRead> = Vec::with_capacity(points);
            while let Some(value) = waiting.pop_back() {
                if seen.insert(value.0) {
                    last.push(value);
                }
            }
            waiting.extend(last.into_iter().rev());
            let let_go = (before - waiting.len()) as u64;
            self.tally[2].fetch_add(let_go, Ordering::Relaxed);
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    /// Takes events in, in order.
    pub(crate) fn push_events(&self, events: impl IntoIterator<Item = Event>) {
        let mut waiting = lock(&self.events);
        for event in events {
            self.tally[3].fetch_add(1, Ordering::Relaxed);
            if waiting.len() == EVENTS_WAITING_MAX {
                waiting.pop_front();
                self.tally[4].fetch_add(1, Ordering::Relaxed);
            }
            waiting.push_back(event);
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    fn take(&self) -> (Vec<PointRead>, Vec<Event>) {
        (first(&self.waiting), first(&self.events))
    }

    pub(crate) fn end(&self, status: StatusCode) {
        *lock(&self.ended) = Some(status);
        self.arrived.notify_one();
    }
}

/// The first of what waits, as many as are handed over at once.
fn first<T>(waiting: &Mutex<VecDeque<T>>) -> Vec<T> {
    let mut waiting = lock(waiting);
    if waiting.len() <= BATCH_MAX {
        // With its room: ten thousand values that once waited at the same time would take it for good.
        return std::mem::take(&mut *waiting).into();
    }
    waiting.drain(..BATCH_MAX).collect()
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A value of the queue is whole at any time.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends a task with its owner.
pub(crate) struct Guarded(pub(crate) AbortHandle);

impl Drop for Guarded {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Stream {
    queue: Arc<Queue>,
    pulse: watch::Receiver<Pulse>,
    silence_max: Duration,
    has_ended: bool,
    _aside: Guarded,
}

/// The subscription as the port has it; `silence_max` is how long a server may say nothing at all, `aside` what is done
/// beside it as long as it lasts.
pub(crate) fn stream(
    queue: Arc<Queue>,
    pulse: watch::Receiver<Pulse>,
    silence_max: Duration,
    aside: Guarded,
) -> Subscription {
    let stream = Stream { queue, pulse, silence_max, has_ended: false, _aside: aside };
    futures_util::stream::unfold(stream, |mut stream| async move {
        if stream.has_ended {
            return None;
        }
        let outcome = stream.next().await;
        stream.has_ended = outcome.lost.is_some();
        Some((outcome, stream))
    })
    .boxed()
}

impl Stream {
    async fn next(&mut self) -> Pushed {
        loop {
            let (points, events) = self.queue.take();
            if !points.is_empty() || !events.is_empty() {
                return Pushed { points, events, ..Pushed::default() };
            }
            let request = "the subscription".to_owned();
            let ended = *lock(&self.queue.ended);
            let pulse = self.pulse.borrow_and_update().clone();
            let lost = match (ended, pulse) {
                (Some(status), _) => {
                    let reason = format!("the server ended it: {status}");
                    Lost::Closed { request, reason }
                }
                (_, Pulse::Ended(reason)) => Lost::Closed { request, reason },
                (_, Pulse::Connecting) => Lost::NotConnected,
                (_, Pulse::Alive(heard)) => {
                    tokio::select! {
                        () = self.queue.arrived.notified() => continue,
                        changed = self.pulse.changed() => match changed {
                            Ok(()) => continue,
                            // The connection was given up before it could say why.
                            Err(_) => Lost::NotConnected,
                        },
                        () = sleep_until(heard + self.silence_max) => {
                            let timeout_ms = self.silence_max.as_millis() as u32;
                            Lost::Timeout { request, timeout_ms }
                        }
                    }
                }
            };
            return Pushed { lost: Some(lost), ..Pushed::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::{PointId, ReadError, Sample};
    use proto::{Datum, Quality};
    use tokio::time::Instant;

    fn value(point: u32, value: i64) -> PointRead {
        let (point, value) = (PointId(point), Datum::Int(value));
        (point, Ok(Sample { point, value, quality: Quality::Good, at: None }))
    }

    fn nothing() -> Guarded {
        Guarded(tokio::spawn(async {}).abort_handle())
    }

    #[test]
    fn a_queue_that_is_too_long_keeps_the_last_value_of_each_point_in_order() {
        let queue = Queue::default();
        queue.push([value(7, -1)], 2);
        let flood = (0..WAITING_MAX as i64 + 2).map(|it| value(1, it));
        queue.push(flood, 2);
        let (left, _) = queue.take();
        assert_eq!(left, [value(7, -1), value(1, WAITING_MAX as i64 + 1)]);
        assert_eq!(queue.tally[2].load(Ordering::Relaxed), WAITING_MAX as u64 + 1);
    }

    #[test]
    fn of_events_that_are_too_many_the_oldest_go() {
        let queue = Queue::default();
        let event = |number: u32| Event {
            point: PointId(number),
            at: None,
            level: crate::port::EventLevel::Notify,
            data: serde_json::Map::new(),
        };
        queue.push_events((0..EVENTS_WAITING_MAX as u32 + 2).map(event));
        let (_, left) = queue.take();
        assert_eq!((left.len(), left[0].point), (BATCH_MAX, PointId(2)));
        assert_eq!(queue.tally[4].load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_a_lost_connection_and_a_keep_alive_is_none() {
        let queue = Arc::new(Queue::default());
        let (tell, pulse) = watch::channel(Pulse::Alive(Instant::now()));
        let silence_max = Duration::from_secs(10);
        let mut stream = stream(Arc::clone(&queue), pulse, silence_max, nothing());
        queue.push([(PointId(0), Err(ReadError::ConnectionLost))], 1);
        assert_eq!(stream.next().await.unwrap().points.len(), 1);
        let begun = Instant::now();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(8)).await;
            tell.send_replace(Pulse::Alive(Instant::now()));
            // Held, so that only silence ends it.
            tokio::time::sleep(Duration::from_secs(60)).await;
        });
        let outcome = stream.next().await.unwrap();
        assert!(matches!(outcome.lost, Some(Lost::Timeout { .. })), "{outcome:?}");
        assert_eq!(begun.elapsed().as_secs(), 18);
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn a_connection_that_is_given_up_ends_what_it_pushes() {
        let (tell, pulse) = watch::channel(Pulse::Alive(Instant::now()));
        let mut stream = stream(Arc::default(), pulse, Duration::from_secs(10), nothing());
        drop(tell);
        let outcome = tokio::time::timeout(Duration::from_secs(5), stream.next()).await;
        assert_eq!(outcome.unwrap().unwrap().lost, Some(Lost::NotConnected));
    }

    #[tokio::test]
    async fn what_came_before_the_end_is_handed_over_first() {
        let queue = Arc::new(Queue::default());
        let (tell, pulse) = watch::channel(Pulse::Alive(Instant::now()));
        queue.push([value(0, 1)], 1);
        tell.send_replace(Pulse::Ended("closed".to_owned()));
        let mut stream = stream(queue, pulse, Duration::from_secs(10), nothing());
        assert_eq!(stream.next().await.unwrap().lost, None);
        let lost = stream.next().await.unwrap().lost.unwrap();
        assert_eq!(lost.code(), "connection_lost");
    }
}
