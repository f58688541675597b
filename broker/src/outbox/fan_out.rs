//! One message into the queues of the sessions on its way: what each gets, and what is dropped for it.

use super::Outbox;
use crate::durable::{body, place::Place};
use crate::message::{Gate, Message};
use crate::overload::memory;
use crate::router::Target;
use crate::session::Session;
use crate::session::acks::{AckGate, Hold};
use crate::session::queue::{Delivery, Progress, Queue};
use crate::space::Shared;
use futures_util::task::AtomicWaker;
use proto::Qos;
use std::sync::Arc;
use store::QueueRef;

/// The most that one message drops to get into a queue that is full.
const SHED_AT_ONCE: usize = 64;

/// One message on its way to several sessions.
pub(super) struct FanOut<'a> {
    outbox: &'a mut Outbox,
    shared: &'a Shared,
    message: &'a Arc<Message>,
    waker: &'a Arc<AtomicWaker>,
    pub(super) gate: Option<Arc<AckGate>>,
    pub(super) refs: Vec<QueueRef>,
    /// Holds back the copies whose packet identifier a client remembers: after a crash it must not mean another.
    pub(super) hidden: Option<Arc<Gate>>,
}

impl<'a> FanOut<'a> {
    pub(super) fn new(
        outbox: &'a mut Outbox,
        shared: &'a Shared,
        message: &'a Arc<Message>,
        waker: &'a Arc<AtomicWaker>,
    ) -> Self {
        Self { outbox, shared, message, waker, gate: None, refs: Vec::new(), hidden: None }
    }

    pub(super) fn deliver(&mut self, target: &Target) {
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
            let weight = body::decode(oldest.body, None).map_or(0, |it| it.weight());
            if queue.acked(oldest.seq, weight) {
                self.outbox.changes.dequeue(session.key(), oldest.seq);
            }
            queue.drops.full += 1;
            self.outbox.dropped += 1;
        }
    }
}
