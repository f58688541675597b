//! The way of a message from its publisher into the queues of its subscribers.
//!
//! An [`Outbox`] gathers what a batch of publications brings about: rows for the store, sessions to wake,
//! acknowledgements that wait for the commit. [`Outbox::flush`] submits one set of changes and wakes each session
//! once, whatever the size of the batch.

use crate::config::QueueFull;
use crate::denial::{Denial, Limit};
use crate::durable::{body, place::Place, rows::RetainedRow};
use crate::figures::Counters;
use crate::message::{Gate, Message};
use crate::overload::memory;
use crate::reason::Reason;
use crate::router::{Route, Target, Way};
use crate::session::Session;
use crate::session::acks::{AckGate, Hold};
use crate::session::queue::{Delivery, Progress, Queue};
use crate::space::{Shared, Space};
use futures_util::task::AtomicWaker;
use hashbrown::HashSet;
use proto::{Qos, TopicName};
use std::sync::Arc;
use store::{Changes, CommitError, Durability, QueueRef};

/// The most that one message drops to get into a queue that is full.
const SHED_AT_ONCE: usize = 64;

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
    dropped: u64,
    refused: u64,
}

/// What is to be told of the end of a commit.
#[derive(Default)]
pub(crate) struct Settlement {
    rows: Vec<(Arc<Session>, u64)>,
    /// What may be seen only from then on.
    hidden: Vec<Arc<Gate>>,
    gates: Vec<Arc<AckGate>>,
    retained: Vec<(Arc<Space>, TopicName)>,
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
            && let Err(denial) = check_room(space.shared(), way.route(), message)
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
        let must_commit = !refs.is_empty() || message.retain;
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
        if !self.changes.is_empty() {
            let (changes, settlement) = self.take_commit();
            Counters::add(&shared.counters.stored, settlement.rows.len() as u64);
            let commit = shared.store.submit(changes);
            if !settlement.is_empty() {
                let shared = Arc::clone(shared);
                tokio::spawn(async move { settlement.finish(commit.await, &shared) });
            }
        }
        self.wake(shared);
    }

    /// Takes what has to be committed, for a caller that commits by itself and then calls [`Outbox::wake`].
    pub(crate) fn take_commit(&mut self) -> (Changes, Settlement) {
        let mut changes = std::mem::take(&mut self.changes);
        changes.set_durability(self.durability);
        (changes, std::mem::take(&mut self.settlement))
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

/// One message on its way to several sessions.
struct FanOut<'a> {
    outbox: &'a mut Outbox,
    shared: &'a Shared,
    message: &'a Arc<Message>,
    waker: &'a Arc<AtomicWaker>,
    gate: Option<Arc<AckGate>>,
    refs: Vec<QueueRef>,
    /// Holds back the copies whose packet identifier a client remembers: after a crash it must not mean another.
    hidden: Option<Arc<Gate>>,
}

impl<'a> FanOut<'a> {
    fn new(
        outbox: &'a mut Outbox,
        shared: &'a Shared,
        message: &'a Arc<Message>,
        waker: &'a Arc<AtomicWaker>,
    ) -> Self {
        Self { outbox, shared, message, waker, gate: None, refs: Vec::new(), hidden: None }
    }

    fn deliver(&mut self, target: &Target) {
        let session = &target.session;
        let message = self.message;
        if target.no_local && session.sender().client_id == message.sender.client_id {
            return;
        }
        let qos = message.qos.min(target.qos);
        let mut delivery = Delivery {
            message: Arc::clone(message),
            qos,
            retain: message.retain && target.retain_as_published,
            subscription_ids: target.subscription_ids.clone(),
            seq: None,
            progress: Progress::New,
            gate: None,
            hold: None,
        };
        if session.is_in_process() && message.qos != Qos::AtMostOnce {
            let gate = self.gate.get_or_insert_with(|| AckGate::new(self.waker));
            delivery.hold = Some(Hold::new(gate));
        }
        let mut queue = session.read_queue(&self.shared.store);
        let is_taken = match qos != Qos::AtMostOnce && queue.is_durable() {
            true => self.give_row(session, &mut queue, &mut delivery),
            false => !self.is_too_much_for_now(session, &queue),
        };
        if !is_taken {
            queue.drops.full += 1;
            self.outbox.dropped += 1;
            return;
        }
        let is_hidden = delivery.gate.is_some();
        let is_gated = delivery.message.gate.is_some();
        let pushed = queue.push(delivery, session.is_in_process());
        drop(queue);
        // The end of the commit wakes the owners of what is hidden until then. An owner that is awake already may
        // look, see nothing, and rest before that.
        if (pushed.wake || is_gated) && !is_hidden {
            self.outbox.woken.push(Arc::clone(session));
        }
        if pushed.pressure && self.outbox.pressure.is_none() {
            self.outbox.pressure = Some(Arc::clone(session));
        }
        if pushed.lags {
            let first = || (Arc::clone(session), 0);
            let (lagging, dropped) = self.outbox.lag.get_or_insert_with(first);
            if Arc::ptr_eq(lagging, session) {
                *dropped += self.message.weight();
            }
        }
        self.outbox.dropped += pushed.dropped;
    }

    /// Gives a durable delivery its row; `false` if the store holds its fill for this session.
    fn give_row(
        &mut self,
        session: &Arc<Session>,
        queue: &mut Queue,
        delivery: &mut Delivery,
    ) -> bool {
        let weight = self.message.weight();
        if queue.drops_oldest() && !queue.has_store_room(weight) {
            self.make_room(session, queue, weight);
        }
        let Some(seq) = queue.reserve_row(weight) else { return false };
        delivery.seq = Some(seq);
        self.refs.push(QueueRef {
            session: session.key(),
            seq,
            flags: delivery.place().flags(),
            expires_at_ms: self.message.expires_at.map(|it| it.0),
        });
        self.outbox.settlement.rows.push((Arc::clone(session), seq));
        if delivery.qos == Qos::ExactlyOnce {
            delivery.gate = Some(Arc::clone(self.hidden.get_or_insert_default()));
        }
        true
    }

    /// Whether memory is short, and as much as may then wait for a client waits already.
    fn is_too_much_for_now(&self, session: &Session, queue: &Queue) -> bool {
        self.shared.memory.is_passed()
            && !session.is_in_process()
            && queue.len_bytes() + self.message.weight() > memory::QUEUE_BYTES_MAX
    }

    /// Drops the oldest deliveries that have not been sent, in memory and then in the store, until there is room.
    fn make_room(&mut self, session: &Session, queue: &mut Queue, weight: usize) {
        for _ in 0..SHED_AT_ONCE {
            if queue.has_store_room(weight) {
                return;
            }
            if queue.len() > 0 {
                let Some(oldest) = queue.shed() else { return };
                self.outbox.dropped += 1;
                if let Some(seq) = oldest.seq
                    && queue.acked(seq, oldest.message.weight())
                {
                    self.outbox.changes.dequeue(session.key(), seq);
                }
                continue;
            }
            let (after, end) = queue.readable();
            let oldest = self
                .shared
                .store
                .read()
                .and_then(|it| it.queue(session.key(), after, 1, usize::MAX));
            let oldest = oldest.ok().and_then(|mut rows| rows.pop()).filter(|row| row.seq < end);
            // What is not committed yet cannot be found: then the newest is dropped.
            let Some(oldest) = oldest else { return };
            let place = Place::read(oldest.flags);
            // An exchange of QoS 2 that may have begun has to come to its end.
            let is_begun = queue.progress(oldest.seq, place.is_released) != Progress::New;
            if is_begun && place.qos == Qos::ExactlyOnce {
                return;
            }
            queue.taken(oldest.seq);
            let weight = body::decode(oldest.body).map_or(0, |it| it.weight());
            if queue.acked(oldest.seq, weight) {
                self.outbox.changes.dequeue(session.key(), oldest.seq);
            }
            queue.drops.full += 1;
            self.outbox.dropped += 1;
        }
    }
}

/// Refuses a message if a queue on the route is full and the publisher is to be told, or would have to keep it while
/// memory is short; before anybody has got it.
fn check_room(shared: &Shared, route: &Route, message: &Message) -> Result<(), Denial> {
    let is_short = shared.is_short_for(&message.sender);
    if !is_short && shared.policies.queue_full != QueueFull::Refuse {
        return Ok(());
    }
    for target in route.targets.iter().filter(|target| !target.session.is_in_process()) {
        let qos = message.qos.min(target.qos);
        let queue = target.session.read_queue(&shared.store);
        if is_short && queue.would_keep(qos) {
            return Err(Denial::memory_short(Reason::QuotaExceeded));
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

impl Settlement {
    fn is_empty(&self) -> bool {
        self.rows.is_empty()
            && self.hidden.is_empty()
            && self.gates.is_empty()
            && self.retained.is_empty()
    }

    /// Tells everybody how the commit ended.
    pub(crate) fn finish(self, outcome: Result<(), CommitError>, shared: &Shared) {
        let mut changes = Changes::new();
        let is_revealing = !self.hidden.is_empty();
        self.hidden.iter().for_each(|gate| gate.settle(outcome.is_ok()));
        for (session, seq) in self.rows {
            let mut queue = session.queue();
            if queue.settled(seq, outcome.is_ok()) {
                changes.dequeue(session.key(), seq);
            }
            let has_more = is_revealing || queue.is_spilled();
            drop(queue);
            if has_more && session.is_connected() {
                session.wake();
            }
        }
        if !changes.is_empty() {
            // A row left behind by a failure here is sent once more: at least once is kept.
            drop(shared.store.submit(changes));
        }
        if let Err(error) = &outcome {
            Counters::add(&shared.counters.store_errors, 1);
            tracing::error!(%error, "a commit has failed; publishers are refused");
        }
        for (space, topic) in self.retained {
            space.retained_settled(&topic, outcome.is_ok());
        }
        for gate in self.gates {
            gate.release(outcome.as_ref().map(|_| ()).map_err(reason));
        }
    }
}

/// What a publisher is told when its message could not be made durable.
fn reason(error: &CommitError) -> Reason {
    match error {
        CommitError::DiskFull | CommitError::Overloaded => Reason::QuotaExceeded,
        _ => Reason::UnspecifiedError,
    }
}
