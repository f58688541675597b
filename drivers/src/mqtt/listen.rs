//! The task that listens: what comes becomes values, in order, no faster than they are taken; what is to be written
//! goes out between them. Topics that say nothing for too long have stale values.

use super::line::Line;
use super::points::Points;
use crate::bridge::{RemoteMessage, SendError};
use crate::port::{Lost, PointId, PointRead, Pushed, ReadError, Receipt, Sample};
use futures_util::FutureExt as _;
use proto::{Datum, Quality, TopicName};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// Messages that are handed over together, if they are there together.
const MESSAGES_AT_ONCE: usize = 256;

/// A message to send, and who waits for what becomes of it.
pub(super) struct Write {
    pub(super) message: RemoteMessage,
    pub(super) told: oneshot::Sender<Result<(), SendError>>,
}

/// What is known of the devices, for whoever asks.
pub(super) struct Known {
    latest: Mutex<Vec<Latest>>,
    /// Something has come.
    pub(super) news: Notify,
    ended: Mutex<Option<Lost>>,
    /// Values read well, and failed.
    pub(super) tally: [AtomicU64; 2],
}

/// The last that was heard of a point.
#[derive(Clone, Default)]
pub(super) struct Latest {
    pub(super) read: Option<Result<Sample, ReadError>>,
    /// How often something was heard.
    pub(super) count: u64,
}

impl Known {
    pub(super) fn new(points: usize) -> Self {
        Self {
            latest: Mutex::new(vec![Latest::default(); points]),
            news: Notify::new(),
            ended: Mutex::default(),
            tally: Default::default(),
        }
    }

    /// The last that was heard of a point.
    pub(super) fn latest(&self, point: PointId) -> Latest {
        lock(&self.latest).get(point.index()).cloned().unwrap_or_default()
    }

    /// Why the line is lost, if it is.
    pub(super) fn ended(&self) -> Option<Lost> {
        lock(&self.ended).clone()
    }

    /// The values that are known, with another quality.
    fn all_as(&self, quality: Quality) -> Vec<PointRead> {
        let latest = lock(&self.latest);
        let sample = |latest: &Latest| latest.read.as_ref()?.as_ref().ok().cloned();
        let samples = latest.iter().filter_map(sample);
        samples.map(|sample| (sample.point, Ok(Sample { quality, ..sample }))).collect()
    }

    pub(super) fn note(&self, reads: &[PointRead]) {
        for (_, read) in reads {
            self.tally[usize::from(read.is_err())].fetch_add(1, Ordering::Relaxed);
        }
        self.remember(reads);
        self.news.notify_waiters();
    }

    fn remember(&self, reads: &[PointRead]) {
        let mut latest = lock(&self.latest);
        for (point, read) in reads {
            if let Some(of) = latest.get_mut(point.index()) {
                *of = Latest { read: Some(read.clone()), count: of.count + 1 };
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What it guards is whole at any time.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// See the module.
pub(super) struct Listener {
    pub(super) line: Line,
    pub(super) points: Arc<Points>,
    pub(super) known: Arc<Known>,
    pub(super) pushes: mpsc::Sender<Pushed>,
    pub(super) writes: mpsc::Receiver<Write>,
    pub(super) silence: Option<Silence>,
    /// The device has said that it is gone, or its will has.
    pub(super) is_gone: bool,
}

impl Listener {
    /// Takes in what is there already, so that it is known once there is a connection.
    pub(super) fn begin(&mut self) {
        if let Some(first) = self.line.next().now_or_never() {
            let (pushed, _) = self.take(first);
            // The first thing in the channel: there is room.
            let _ = self.pushes.try_send(pushed);
        }
    }

    /// Listens until the line is lost, or nobody wants to hear any more.
    pub(super) async fn run(mut self) {
        loop {
            let due = self.silence.as_ref().and_then(|silence| silence.look_at);
            let silent = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = self.line.next() => {
                    let (pushed, is_lost) = self.take(message);
                    if self.push(pushed).await.is_err() || is_lost {
                        return;
                    }
                }
                write = self.writes.recv() => match write {
                    Some(Write { message, told }) => {
                        let sending = self.line.publish(message);
                        // Ends with the line at the latest.
                        tokio::spawn(async move { drop(told.send(sending.await)) });
                    }
                    None => return,
                },
                () = silent => {
                    let points = self.fall_silent();
                    if self.push(Pushed { points, ..Pushed::default() }).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn push(&mut self, pushed: Pushed) -> Result<(), ()> {
        if pushed.points.is_empty() && pushed.lost.is_none() {
            pushed.receipt.kept();
            return Ok(());
        }
        self.pushes.send(pushed).await.map_err(drop)
    }

    /// A message, and those that are there behind it; whether the line is lost.
    fn take(&mut self, first: Result<(RemoteMessage, Receipt), Lost>) -> (Pushed, bool) {
        let (mut points, mut receipts) = (Vec::new(), Vec::new());
        let mut next = Some(first);
        let (mut lost, mut messages) = (None, 0);
        while let Some(message) = next.take() {
            match message {
                Ok((message, receipt)) => {
                    points.extend(self.hear(&message, &points));
                    if let Some(silence) = &mut self.silence {
                        silence.heard(&message.topic);
                    }
                    if !receipt.is_empty() {
                        receipts.push(receipt);
                    }
                }
                Err(reason) => {
                    lost = Some(reason);
                    break;
                }
            }
            messages += 1;
            if messages < MESSAGES_AT_ONCE && points.len() < MESSAGES_AT_ONCE {
                next = self.line.next().now_or_never();
            }
        }
        self.known.note(&points);
        let is_lost = lost.is_some();
        lock(&self.known.ended).clone_from(&lost);
        let receipt = match receipts.is_empty() {
            true => Receipt::default(),
            false => Receipt::new(move || receipts.into_iter().for_each(Receipt::kept)),
        };
        (Pushed { points, events: Vec::new(), lost, receipt }, is_lost)
    }

    /// What follows from a message. What was kept of a device that is gone is as stale as what was heard of it.
    fn hear(&mut self, message: &RemoteMessage, before: &[PointRead]) -> Vec<PointRead> {
        let mut reads = self.points.read(message);
        if let Some(is_gone) = self.points.is_gone(message).filter(|now| *now != self.is_gone) {
            self.is_gone = is_gone;
            // Whether it is still as it was before it was gone is not known.
            let quality = if is_gone { Quality::Stale } else { Quality::Uncertain };
            self.known.remember(before);
            reads.extend(self.known.all_as(quality));
        } else if self.is_gone && message.retain {
            for (_, read) in &mut reads {
                if let Ok(sample) = read {
                    sample.quality = Quality::Stale;
                }
            }
        }
        reads
    }

    /// The values of topics that have said nothing for too long.
    fn fall_silent(&mut self) -> Vec<PointRead> {
        let Some(silence) = &mut self.silence else { return Vec::new() };
        let mut reads = Vec::new();
        for topic in silence.fall_silent() {
            for point in self.points.on(&topic) {
                let read = match self.known.latest(*point).read {
                    // Without a time it keeps that of the value.
                    Some(Ok(sample)) => Ok(Sample { quality: Quality::Stale, ..sample }),
                    Some(Err(error)) => Err(error),
                    None => {
                        let point = &self.points.all[point.index()];
                        Err(point.no_value("nothing has been heard on its topic"))
                    }
                };
                reads.push((*point, read));
            }
        }
        reads
    }
}

/// When topics have been heard of.
pub(super) struct Silence {
    after: Duration,
    heard: HashMap<TopicName, Instant>,
    /// When it is looked next: not after the first of them has been silent for too long.
    look_at: Option<Instant>,
}

impl Silence {
    /// All topics are heard of now.
    pub(super) fn new(after_secs: u32, points: &Points) -> Option<Self> {
        let (now, after) = (Instant::now(), Duration::from_secs(after_secs.into()));
        let heard: HashMap<_, _> = points.topics().map(|topic| (topic.clone(), now)).collect();
        let look_at = (!heard.is_empty()).then(|| now + after);
        (after_secs > 0).then_some(Self { after, heard, look_at })
    }

    fn heard(&mut self, topic: &TopicName) {
        let now = Instant::now();
        match self.heard.get_mut(topic) {
            Some(heard) => *heard = now,
            None => drop(self.heard.insert(topic.clone(), now)),
        }
        self.look_at.get_or_insert_with(|| now + self.after);
    }

    /// Those that have been silent for too long; each is told of once.
    fn fall_silent(&mut self) -> Vec<TopicName> {
        let now = Instant::now();
        let is_silent = |heard: Instant| heard + self.after <= now;
        let silent: Vec<TopicName> = self
            .heard
            .iter()
            .filter(|(_, heard)| is_silent(**heard))
            .map(|(topic, _)| topic.clone())
            .collect();
        self.heard.retain(|_, heard| !is_silent(*heard));
        self.look_at = self.heard.values().min().map(|heard| *heard + self.after);
        silent
    }
}

/// Whether two values are the same to whoever has written one and reads the other.
pub(super) fn is_same(written: &Datum, found: &Datum) -> bool {
    match (written.as_f64(), found.as_f64()) {
        (Some(written), Some(found)) => written == found,
        _ => written == found,
    }
}
