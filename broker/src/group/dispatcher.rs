//! The task of a group: takes messages out of its queue and lends each to a member that has room.

use super::loan::{Parcel, Returned};
use super::strategy::{SharedStrategy, Turn};
use super::{Group, Loan, Member};
use crate::durable::refill;
use crate::figures::Counters;
use crate::message::Message;
use crate::outbox::Outbox;
use crate::router::Target;
use crate::session::acks::Hold;
use crate::session::queue::{Delivery, Progress};
use crate::space::Shared;
use proto::Qos;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::task::{Context, Poll};
use store::{Changes, Durability};

/// Messages placed in one turn; then others get theirs.
const PLACED_AT_ONCE: usize = 256;

/// See the module.
pub(super) struct Dispatcher {
    group: Arc<Group>,
    shared: Arc<Shared>,
    durability: Durability,
    turn: Turn,
    /// What has come back, in the order of the rows.
    again: VecDeque<Parcel>,
    /// The highest row taken out of the queue.
    sent_seq: u64,
}

impl Dispatcher {
    pub(super) fn new(group: Arc<Group>, durability: Durability, shared: Arc<Shared>) -> Self {
        let seed = hashbrown::DefaultHashBuilder::default().hash_one(group.session.key());
        let turn = Turn::new(shared.policies.shared_strategy, seed);
        Self { group, shared, durability, turn, again: VecDeque::new(), sent_seq: 0 }
    }

    /// Serves the group until its last member has gone.
    pub(super) async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.group.session.waker().register(cx.waker());
        if self.group.is_ended() {
            return Poll::Ready(());
        }
        let mut outbox = Outbox::with(self.durability);
        self.take_back(&mut outbox);
        if self.group.follow_presence(self.sent_seq) {
            let members = self.group.members();
            self.turn.forget(|key| {
                members.iter().any(|it| it.session.key().0 == key && it.session.is_connected())
            });
            if self.place_all(&members, &mut outbox) {
                cx.waker().wake_by_ref();
            }
        }
        outbox.flush(&self.shared);
        Poll::Pending
    }

    /// Takes up what members have had, and what they give back.
    fn take_back(&mut self, outbox: &mut Outbox) {
        for returned in self.group.returns.take() {
            match returned {
                Returned::Done(seq, weight) => self.finish(Some(seq), weight, outbox),
                Returned::Back(parcel) => {
                    let row = |it: &Parcel| it.seq.unwrap_or(u64::MAX);
                    let place = self.again.partition_point(|it| row(it) <= row(&parcel));
                    self.again.insert(place, parcel);
                }
            }
        }
    }

    /// Places messages for as long as somebody has room; `true` if there may be more.
    fn place_all(&mut self, members: &[Member], outbox: &mut Outbox) -> bool {
        let keys: Vec<u64> = members.iter().map(|it| it.session.key().0).collect();
        for _ in 0..PLACED_AT_ONCE {
            let Some(parcel) = self.next(&mut outbox.changes) else { return false };
            if parcel.message.is_expired(self.shared.clock.now()) {
                self.group.session.queue().expired += 1;
                Counters::add(&self.shared.counters.expired, 1);
                self.finish(parcel.seq, parcel.message.weight(), outbox);
                continue;
            }
            match self.pick(members, &keys, &parcel) {
                Some(place) => self.lend(&members[place], parcel, outbox),
                None if !may_be_had(members, &parcel.message) => {
                    self.group.session.queue().drops.forbidden += 1;
                    self.finish(parcel.seq, parcel.message.weight(), outbox);
                }
                None => {
                    self.again.push_front(parcel);
                    return false;
                }
            }
        }
        true
    }

    /// The next message: one that came back, or the next of the queue.
    fn next(&mut self, changes: &mut Changes) -> Option<Parcel> {
        if let Some(parcel) = self.again.pop_front() {
            return Some(parcel);
        }
        let session = &self.group.session;
        let mut queue = session.queue();
        let mut delivery = queue.pop(true);
        if delivery.is_none() && queue.len() == 0 && queue.is_readable() {
            drop(queue);
            refill::read_rows(&self.shared, session, changes, |_| None);
            queue = session.queue();
            delivery = queue.pop(true);
        }
        let Some(Delivery { message, qos, seq, .. }) = delivery else {
            // Under the lock, lest a message comes between that nobody is woken for.
            queue.rest();
            return None;
        };
        drop(queue);
        self.sent_seq = self.sent_seq.max(seq.unwrap_or(0));
        Some(Parcel { message, qos, seq })
    }

    /// The place of a member that can send the message at once.
    fn pick(&mut self, members: &[Member], keys: &[u64], parcel: &Parcel) -> Option<usize> {
        let message = &parcel.message;
        let hash = match self.turn.strategy() {
            SharedStrategy::HashClient => hash(&message.sender.client_id),
            SharedStrategy::HashTopic => hash(&message.topic),
            _ => 0,
        };
        let can_send = |place: usize| {
            let Member { session, qos, .. } = &members[place];
            session.has_room(parcel.qos.min(*qos)) && session.may_receive(&message.topic)
        };
        if let Some(place) = self.turn.pick(keys, hash, can_send) {
            return Some(place);
        }
        // Whoever gets room after this wakes us; whoever has got it meanwhile is found now.
        for member in members.iter().filter(|it| it.session.is_connected()) {
            member.session.room().want(self.group.session.waker());
        }
        self.turn.pick(keys, hash, can_send)
    }

    /// Puts a message into the queue of a member.
    fn lend(&self, member: &Member, parcel: Parcel, outbox: &mut Outbox) {
        let qos = parcel.qos.min(member.qos);
        let message = Arc::clone(&parcel.message);
        if qos == Qos::ExactlyOnce && member.session.queue().is_durable() {
            // It may never go to anybody else once it is sent (4.8.2-5): it moves to the member in one commit.
            let target = Target {
                session: Arc::clone(&member.session),
                qos,
                no_local: false,
                retain_as_published: member.retain_as_published,
                subscription_ids: member.subscription_ids.clone(),
            };
            outbox.hand_over(&self.shared, &target, &message);
            self.finish(parcel.seq, message.weight(), outbox);
            return;
        }
        let delivery = Delivery {
            qos,
            retain: message.retain && member.retain_as_published,
            subscription_ids: member.subscription_ids.clone(),
            seq: None,
            progress: Progress::New,
            gate: None,
            hold: Some(Hold::lent(Loan::new(parcel, &self.group.returns))),
            message,
        };
        // A member that has gone meanwhile drops it, which brings it back.
        if member.session.queue().push(delivery, false).wake {
            member.session.wake();
        }
    }

    /// A message needs nobody any more: its row may go.
    fn finish(&self, seq: Option<u64>, weight: usize, outbox: &mut Outbox) {
        let session = &self.group.session;
        if let Some(seq) = seq
            && session.queue().acked(seq, weight)
        {
            outbox.changes.dequeue(session.key(), seq);
        }
    }
}

/// Whether a member that is connected may be given the message at all.
fn may_be_had(members: &[Member], message: &Message) -> bool {
    let mut connected = members.iter().filter(|it| it.session.is_connected()).peekable();
    connected.peek().is_none() || connected.any(|it| it.session.may_receive(&message.topic))
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
