//! The way of a message from its publisher into the queues of its subscribers.
//!
//! An [`Outbox`] gathers what a batch of publications brings about: rows for the store, sessions to wake,
//! acknowledgements that wait for the commit. [`Outbox::flush`] submits one set of changes and wakes each session
//! once, whatever the size of the batch.

mod fan_out;
mod settlement;

pub(crate) use settlement::Settlement;

use crate::config::QueueFull;
use crate::denial::{Denial, Limit};
use crate::durable::{body, rows::RetainedRow};
use crate::figures::Counters;
use crate::message::Message;
use crate::reason::Reason;
use crate::recorder::{Recorded, Recorder};
use crate::router::{Route, Target, Way};
use crate::session::Session;
use crate::session::acks::AckGate;
use crate::space::{Shared, Space};
use fan_out::FanOut;
use futures_util::task::AtomicWaker;
use hashbrown::HashSet;
use proto::Qos;
use std::sync::Arc;
use store::{Changes, Commit, Durability};

/// Sessions to wake for which an outbox keeps room.
const WOKEN_USUAL: usize = 1024;

/// What a batch of publications brings about.
pub(crate) struct Outbox {
    pub(crate) changes: Changes,
    durability: Durability,
    settlement: Settlement,
    woken: Vec<Arc<Session>>,
    /// A subscriber that has fallen behind and that the publisher should wait for.
    pub(crate) pressure: Option<Arc<Session>>,
    /// One that publishers have waited for in vain, and how much for it has been dropped since the last flush.
    lag: Option<(Arc<Session>, usize)>,
    /// What nobody may see before its commit, and the way it has gone.
    unseen: Vec<(Arc<Space>, Way, Arc<Message>)>,
    /// What somebody keeps with the commit.
    recorded: Vec<Arc<Message>>,
    recorder: Option<Arc<dyn Recorder>>,
    dropped: u64,
    refused: u64,
}

/// A publication that has been routed.
pub(crate) enum Routed {
    /// Nothing is left to wait for.
    Done(Reason),
    /// Nobody has got it.
    Refused(Denial),
    /// Acknowledge when the gate opens, which subscribers in process may hold as well as the commit.
    Waiting { gate: Arc<AckGate>, for_platform: bool },
}

impl Outbox {
    /// An outbox for publications in one namespace.
    pub(crate) fn of(space: &Space) -> Self {
        Self::with(space.durability())
    }

    /// An outbox whose commits promise so much.
    pub(crate) fn with(durability: Durability) -> Self {
        Self {
            changes: Changes::new(),
            durability,
            settlement: Settlement::default(),
            woken: Vec::new(),
            pressure: None,
            lag: None,
            unseen: Vec::new(),
            recorded: Vec::new(),
            recorder: None,
            dropped: 0,
            refused: 0,
        }
    }

    /// Commits promise so much from now on.
    pub(crate) fn promise(&mut self, durability: Durability) {
        self.durability = durability;
    }

    /// The subscriber that has lost so much since the last flush, although publishers have waited for it.
    pub(crate) fn take_lag_of(&mut self, weight: usize) -> Option<Arc<Session>> {
        self.lag.take_if(|(_, dropped)| *dropped >= weight).map(|(session, _)| session)
    }

    /// Whether everything in it has been flushed.
    pub(crate) fn is_clear(&self) -> bool {
        self.changes.is_empty()
            && self.settlement.is_empty()
            && self.recorder.is_none()
            && self.woken.is_empty()
            && self.pressure.is_none()
    }

    /// Puts `message` into the queues of everybody on its way, and keeps it if it is to be retained.
    /// `waker` is woken when the acknowledgement, if any, is due.
    pub(crate) fn publish(
        &mut self,
        space: &Arc<Space>,
        way: &mut Way,
        message: &Arc<Message>,
        waker: &Arc<AtomicWaker>,
    ) -> Routed {
        if message.qos != Qos::AtMostOnce
            && let Err(denial) = check_room(space, way.route(), message)
        {
            self.refused += 1;
            return Routed::Refused(denial);
        }
        if message.retain
            && let Err(denial) = self.retain(space, message)
        {
            self.refused += 1;
            return Routed::Refused(denial);
        }
        let shared = space.shared();
        // Who has subscribed since the way was looked up may have missed what is kept by now.
        let route = match message.retain {
            true => way.refresh(space.router(), &message.topic),
            false => way.route(),
        };
        let mut fan_out = FanOut::new(self, shared, message, waker);
        for target in &route.targets {
            fan_out.deliver(target);
        }
        let is_for_nobody = route.is_empty();
        let FanOut { gate, refs, hidden, .. } = fan_out;
        let for_platform = gate.is_some();
        self.settlement.hidden.extend(hidden);
        if message.gate.is_some() {
            self.unseen.push((Arc::clone(space), way.clone(), Arc::clone(message)));
        }
        let recorder = space.recorder_of(&message.topic, &message.sender);
        let must_commit = !refs.is_empty() || message.retain || recorder.is_some();
        if let Some(recorder) = recorder {
            self.recorder.get_or_insert_with(|| Arc::clone(recorder));
            self.recorded.push(Arc::clone(message));
        }
        if !refs.is_empty() {
            self.changes.enqueue(body::encode(message), refs);
        }
        if message.qos == Qos::AtMostOnce {
            return Routed::Done(Reason::Success);
        }
        let gate = if must_commit {
            let gate = gate.unwrap_or_else(|| AckGate::new(waker));
            gate.hold();
            self.settlement.gates.push(Arc::clone(&gate));
            Some(gate)
        } else {
            gate
        };
        match gate {
            Some(gate) => {
                gate.release(Ok(()));
                Routed::Waiting { gate, for_platform }
            }
            None if is_for_nobody => Routed::Done(Reason::NoMatchingSubscribers),
            None => Routed::Done(Reason::Success),
        }
    }

    /// Puts `message` into the queue of one session, and of nobody else.
    pub(crate) fn hand_over(&mut self, shared: &Shared, target: &Target, message: &Arc<Message>) {
        let waker = Arc::default();
        let mut fan_out = FanOut::new(self, shared, message, &waker);
        fan_out.deliver(target);
        let FanOut { refs, hidden, .. } = fan_out;
        self.settlement.hidden.extend(hidden);
        if !refs.is_empty() {
            self.changes.enqueue(body::encode(message), refs);
        }
    }

    /// What could not be seen until now can be: whoever has subscribed since it was put into queues gets it as well.
    /// A subscriber that was shown what it replaces would else be left with that.
    pub(crate) fn catch_up(&mut self, shared: &Shared) {
        for (space, mut way, message) in std::mem::take(&mut self.unseen) {
            let before = Arc::clone(way.route());
            let now = way.refresh(space.router(), &message.topic);
            if Arc::ptr_eq(&before, now) {
                continue;
            }
            let key = |target: &Target| target.session.key();
            let served: HashSet<_> = before.targets.iter().map(key).collect();
            for target in now.targets.iter().filter(|it| !served.contains(&key(it))) {
                self.hand_over(shared, target, &message);
            }
        }
    }

    /// Adds changes whose end opens `gate`, which must be held once.
    pub(crate) fn commit_with(&mut self, changes: Changes, gate: Arc<AckGate>) {
        self.changes.append(changes);
        self.settlement.gates.push(gate);
    }

    /// Counts a publication that was refused before it was routed.
    pub(crate) fn count_refused(&mut self) {
        self.refused += 1;
    }

    /// Keeps or deletes the retained message of a topic, with the commit of this batch.
    pub(crate) fn retain(
        &mut self,
        space: &Arc<Space>,
        message: &Arc<Message>,
    ) -> Result<(), Denial> {
        let key = space.retained_key(&message.topic);
        if message.payload.is_empty() {
            space.retained().lock().clear(message);
            self.changes.delete::<RetainedRow>(&key);
        } else {
            let row = RetainedRow::new(message);
            let weight = row.weight(&message.topic);
            let bounds = space.retained_bounds(&message.sender);
            let kept = space.retained().lock().set(message, weight, bounds);
            kept.map_err(|limit| no_room_to_retain(space.shared(), limit, message))?;
            self.changes.put(&key, &row);
        }
        self.settlement.retained.push((Arc::clone(space), message.topic.clone()));
        Ok(())
    }

    /// Submits the changes, if there are any, and wakes everybody. Must run inside a tokio runtime.
    pub(crate) fn flush(&mut self, shared: &Arc<Shared>) {
        self.lag = None;
        let (commit, settlement) = self.submit(shared);
        if let Some(commit) = commit {
            Counters::add(&shared.counters.stored, settlement.rows.len() as u64);
            if !settlement.is_empty() {
                let shared = Arc::clone(shared);
                tokio::spawn(async move { settlement.finish(commit.await, &shared) });
            }
        }
        self.wake(shared);
    }

    /// Submits what has to be committed, if anything has. The settlement is to be finished with the end of the
    /// commit, and then [`Outbox::wake`] called.
    pub(crate) fn submit(&mut self, shared: &Shared) -> (Option<Commit>, Settlement) {
        let mut changes = std::mem::take(&mut self.changes);
        let mut settlement = std::mem::take(&mut self.settlement);
        changes.set_durability(self.durability);
        let mut commit = None;
        let mut submit = |changes| commit = Some(shared.store.submit(changes));
        if let Some(recorder) = self.recorder.take() {
            let messages = std::mem::take(&mut self.recorded);
            let messages: Vec<_> = messages.iter().map(|it| Recorded::from(&**it)).collect();
            let ticket = recorder.record(&messages, changes, &mut submit);
            settlement.recorded = Some((recorder, ticket));
        } else if !changes.is_empty() {
            submit(changes);
        }
        (commit, settlement)
    }

    /// Wakes everybody who got something.
    pub(crate) fn wake(&mut self, shared: &Shared) {
        self.woken.drain(..).for_each(|session| session.wake());
        if self.woken.capacity() > WOKEN_USUAL {
            self.woken = Vec::new();
        }
        Counters::add(&shared.counters.dropped, std::mem::take(&mut self.dropped));
        Counters::add(&shared.counters.publishes_refused, std::mem::take(&mut self.refused));
    }
}

/// Refuses a message if a queue on the route is full and the publisher is to be told, or would have to keep it while
/// memory is short or the namespace has no room left on the disk; before anybody has got it.
fn check_room(space: &Space, route: &Route, message: &Message) -> Result<(), Denial> {
    let shared = space.shared();
    let is_short = shared.is_short_for(&message.sender);
    let full = space.backlog_full_for(&message.sender);
    if !is_short && full.is_none() && shared.policies.queue_full != QueueFull::Refuse {
        return Ok(());
    }
    for target in route.targets.iter().filter(|target| !target.session.is_in_process()) {
        let qos = message.qos.min(target.qos);
        let queue = target.session.read_queue(&shared.store);
        if is_short && queue.would_keep(qos) {
            return Err(Denial::memory_short(Reason::QuotaExceeded));
        }
        if let Some(max) = full
            && queue.would_keep(qos)
        {
            let max = usize::try_from(max).unwrap_or(usize::MAX);
            return Err(Denial::full(Reason::QuotaExceeded, Limit::QueuedBytes, max));
        }
        if queue.is_refusing(message.weight(), qos) {
            let rule = "the queue of a subscriber is full (broker.queue_full)";
            return Err(Denial::rule(Reason::QuotaExceeded, rule));
        }
    }
    Ok(())
}

/// Why a message cannot be retained.
fn no_room_to_retain(shared: &Shared, limit: Limit, message: &Message) -> Denial {
    let max = match limit {
        Limit::RetainedMessages if shared.is_short_for(&message.sender) => {
            return Denial::memory_short(Reason::QuotaExceeded);
        }
        Limit::RetainedMessages => shared.limits.retained_messages_max,
        _ => shared.limits.retained_bytes_max,
    };
    Denial::full(Reason::QuotaExceeded, limit, max)
}
