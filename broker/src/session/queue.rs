//! The queue of one session: what waits to be sent, in memory and, for a durable session, in the store.
//!
//! A durable delivery (QoS 1 or 2 to a session that outlives its connection) gets a sequence number and a row in the
//! store. While the owner keeps up, it is also in `ready`. Once `ready` is full, or nobody is connected, the
//! session is *spilled*: new deliveries are in the store only, and the owner reads them from there, in order,
//! until it has caught up. Rows whose commit is under way are in `uncommitted`; the owner never reads past the
//! first of them, so nothing is skipped. What happens at the bounds says [`QueueFull`]; whatever is dropped is counted.
//! The queue of a session that nobody has asked for since the start of the node is *unread*: what the store holds for
//! it is found out when it is first needed.

mod delivery;
mod jam;

pub(crate) use delivery::{Delivery, Progress};

use crate::config::{Limits, Policies, QueueFull};
use crate::message::GateState;
use crate::overload::backlog::Backlog;
use crate::session::drops::Drops;
use jam::Jam;
use proto::Qos;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use tokio::time::Instant;

/// How much a queue holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Deliveries in memory.
    pub(crate) ready_max: usize,
    /// Their weight in bytes.
    pub(crate) ready_bytes_max: usize,
    /// Deliveries of a durable session in the store.
    pub(crate) stored_max: u64,
    /// Their weight in bytes.
    pub(crate) stored_bytes_max: u64,
    pub(crate) when_full: QueueFull,
}

impl Bounds {
    /// Those that the configuration gives.
    pub(crate) fn of(limits: &Limits, policies: &Policies) -> Self {
        Self {
            ready_max: limits.queue_messages_max,
            ready_bytes_max: limits.queue_bytes_max,
            stored_max: limits.stored_messages_max,
            stored_bytes_max: limits.stored_bytes_max,
            when_full: policies.queue_full,
        }
    }
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pushed {
    /// The owner has to be woken.
    pub(crate) wake: bool,
    /// The publisher should wait for the owner to catch up.
    pub(crate) pressure: bool,
    /// Something was dropped, after publishers have waited for the owner in vain.
    pub(crate) lags: bool,
    /// How many deliveries were dropped, this one or others.
    pub(crate) dropped: u64,
}

/// A row whose commit is under way.
#[derive(Debug, Clone, Copy)]
struct Uncommitted {
    seq: u64,
    weight: u32,
    /// The client has acknowledged it already: the row is to go as soon as it is there.
    is_acked: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Queue {
    bounds: Arc<Bounds>,
    ready: VecDeque<Delivery>,
    ready_bytes: usize,
    is_durable: bool,
    is_connected: bool,
    /// The owner has been woken and has not yet seen the queue empty.
    is_scheduled: bool,
    jam: Option<Box<Jam>>,
    next_seq: u64,
    /// The highest sequence number that has been in `ready` or with the owner.
    taken_seq: u64,
    /// Rows up to this one may have been sent by an owner who has not told.
    maybe_sent_seq: u64,
    uncommitted: VecDeque<Uncommitted>,
    stored: u64,
    stored_bytes: u64,
    /// That of its namespace, if it counts there.
    backlog: Option<Arc<Backlog>>,
    is_unread: bool,
    pub(crate) drops: Drops,
    /// Deliveries whose time was over before they were sent.
    pub(crate) expired: u64,
}

impl Queue {
    pub(crate) fn new(bounds: Arc<Bounds>, backlog: Option<Arc<Backlog>>) -> Self {
        Self {
            bounds,
            ready: VecDeque::new(),
            ready_bytes: 0,
            is_durable: false,
            is_connected: false,
            is_scheduled: false,
            jam: None,
            next_seq: 1,
            taken_seq: 0,
            maybe_sent_seq: 0,
            uncommitted: VecDeque::new(),
            stored: 0,
            stored_bytes: 0,
            backlog,
            is_unread: false,
            drops: Drops::default(),
            expired: 0,
        }
    }

    /// The store may hold something for the session. Rows up to `sent_seq` have been sent; where nothing is known, any
    /// of them may have been.
    pub(crate) fn restore_later(&mut self, sent_seq: Option<u64>) {
        self.maybe_sent_seq = sent_seq.unwrap_or(u64::MAX);
        self.is_durable = true;
        self.is_unread = true;
    }

    /// Whether what the store holds is still to be found out.
    pub(crate) fn is_unread(&self) -> bool {
        self.is_unread
    }

    /// Takes up what the store holds for the session: how many, their bytes, the last row.
    pub(crate) fn restore(&mut self, stored: u64, stored_bytes: u64, last_seq: u64) {
        self.is_durable = true;
        self.is_unread = false;
        self.stored = stored;
        self.holds(stored_bytes);
        self.next_seq = last_seq + 1;
        self.taken_seq = 0;
        self.maybe_sent_seq = self.maybe_sent_seq.min(last_seq);
    }

    /// The owner is gone without a word: all rows are read again.
    pub(crate) fn lose_owner(&mut self) {
        self.disconnect(0);
        self.maybe_sent_seq = self.next_seq - 1;
    }

    /// How far the owners before have come with a row.
    pub(crate) fn progress(&self, seq: u64, is_released: bool) -> Progress {
        match is_released {
            true => Progress::Released,
            false if seq <= self.maybe_sent_seq => Progress::MaybeSent,
            false => Progress::New,
        }
    }

    /// An owner is there; `is_durable` says whether the session outlives it.
    pub(crate) fn connect(&mut self, is_durable: bool) {
        self.is_durable = is_durable;
        self.is_connected = true;
        self.is_scheduled = true;
    }

    /// The owner is gone, having sent durable deliveries up to `sent_seq`. What was only in memory is dropped.
    pub(crate) fn disconnect(&mut self, sent_seq: u64) {
        self.is_connected = false;
        self.is_scheduled = false;
        // What a group has lent goes back to it.
        let transient = self.ready.iter().filter(|it| it.seq.is_none() && !it.is_lent());
        self.drops.disconnected += transient.count() as u64;
        self.ready.clear();
        self.ready_bytes = 0;
        self.taken_seq = sent_seq;
        self.release_waiting();
        self.jam = None;
    }

    /// Whether the owner can read rows from the store now.
    pub(crate) fn is_readable(&self) -> bool {
        let (after, end) = self.readable();
        self.is_durable && after + 1 < end
    }

    /// Whether the store holds deliveries that the owner has not seen.
    pub(crate) fn is_spilled(&self) -> bool {
        self.is_durable && self.taken_seq + 1 < self.next_seq
    }

    /// Reserves a row for a durable delivery; `None` if the store holds its fill for this session.
    pub(crate) fn reserve_row(&mut self, weight: usize) -> Option<u64> {
        if !self.is_durable || self.is_unread || !self.has_store_room(weight) {
            return None;
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        self.stored += 1;
        self.holds(self.stored_bytes + weight as u64);
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        self.uncommitted.push_back(Uncommitted { seq, weight, is_acked: false });
        Some(seq)
    }

    /// Whether the store may take one more delivery for this session.
    pub(crate) fn has_store_room(&self, weight: usize) -> bool {
        let Bounds { stored_max, stored_bytes_max, .. } = *self.bounds;
        self.stored < stored_max && self.stored_bytes + weight as u64 <= stored_bytes_max
    }

    /// Whether a delivery must be refused to its publisher, who can be told.
    pub(crate) fn is_refusing(&self, weight: usize, qos: Qos) -> bool {
        if self.bounds.when_full != QueueFull::Refuse || qos == Qos::AtMostOnce {
            return false;
        }
        match self.is_durable {
            true => !self.has_store_room(weight),
            false => self.is_connected && self.is_full_for(weight),
        }
    }

    /// Whether a delivery would lie in the store until its owner returns, or catches up.
    pub(crate) fn would_keep(&self, qos: Qos) -> bool {
        qos != Qos::AtMostOnce && self.is_durable && (!self.is_connected || self.is_spilled())
    }

    /// Whether the oldest gives way to the newest.
    pub(crate) fn drops_oldest(&self) -> bool {
        self.bounds.when_full == QueueFull::DropOldest
    }

    /// Takes the oldest delivery in memory out of the way, if nobody waits for what becomes of it.
    pub(crate) fn shed(&mut self) -> Option<Delivery> {
        let front = self.ready.front()?;
        // What is lent is not ours to drop, and an exchange of QoS 2 that may have begun has to come to its end.
        let is_begun = front.qos == Qos::ExactlyOnce && front.progress != Progress::New;
        if front.hold.is_some() || is_begun {
            return None;
        }
        let delivery = self.ready.pop_front()?;
        self.ready_bytes -= delivery.message.weight();
        self.drops.full += 1;
        Some(delivery)
    }

    fn is_full_for(&self, weight: usize) -> bool {
        self.ready.len() >= self.bounds.ready_max
            || self.ready_bytes + weight > self.bounds.ready_bytes_max
    }

    /// A row is no longer in the store.
    fn release(&mut self, weight: u64) {
        self.stored = self.stored.saturating_sub(1);
        // What was there at the start of the node has been weighed in another way.
        let is_empty = self.stored == 0;
        self.holds(if is_empty { 0 } else { self.stored_bytes.saturating_sub(weight) });
    }

    /// The session has ended: what it holds does not count any more, also while publishers still know the queue.
    pub(crate) fn leave_backlog(&mut self) {
        if let Some(backlog) = self.backlog.take() {
            backlog.moves(self.stored_bytes, 0);
        }
    }

    /// The store holds so many bytes for the session now.
    fn holds(&mut self, stored_bytes: u64) {
        if let Some(backlog) = &self.backlog {
            backlog.moves(self.stored_bytes, stored_bytes);
        }
        self.stored_bytes = stored_bytes;
    }

    /// From now on deliveries of QoS 1 and 2 outlive the connection.
    pub(crate) fn make_durable(&mut self) {
        self.is_durable = true;
    }

    /// Whether deliveries of QoS 1 and 2 outlive the connection.
    pub(crate) fn is_durable(&self) -> bool {
        self.is_durable
    }

    /// Takes in a delivery. One with a row is never dropped: it is in the store in any case.
    pub(crate) fn push(&mut self, delivery: Delivery, is_in_process: bool) -> Pushed {
        let weight = delivery.message.weight();
        let mut pushed = Pushed { wake: false, pressure: false, lags: false, dropped: 0 };
        let is_transient = delivery.seq.is_none() && self.is_connected && !is_in_process;
        while is_transient
            && self.drops_oldest()
            && self.is_full_for(weight)
            && self.ready.front().is_some_and(|it| it.seq.is_none())
            && self.shed().is_some()
        {
            pushed.dropped += 1;
        }
        let is_full = self.is_full_for(weight);
        let in_memory = match delivery.seq {
            Some(seq) => {
                // Only the next one in line may go past the store.
                let in_line = seq == self.taken_seq + 1;
                let in_memory = self.is_connected && in_line && !is_full;
                if in_memory {
                    self.taken_seq = seq;
                }
                in_memory
            }
            // What is in process is bounded by its publishers, who wait.
            None => self.is_connected && (!is_full || is_in_process),
        };
        if in_memory {
            self.ready_bytes += weight;
            self.ready.push_back(delivery);
            pushed.wake = !std::mem::replace(&mut self.is_scheduled, true);
        } else if delivery.seq.is_none() && !delivery.is_lent() {
            match self.is_connected {
                true => self.drops.full += 1,
                false => self.drops.disconnected += 1,
            }
            pushed.dropped += 1;
        }
        pushed.pressure = self.is_connected && !self.is_lagging() && self.is_over_watermark();
        pushed.lags = pushed.dropped > 0 && self.is_lagging();
        pushed
    }

    /// The next delivery: QoS 0 always, others only if `has_window`. None while the next one waits for a commit.
    pub(crate) fn pop(&mut self, has_window: bool) -> Option<Delivery> {
        loop {
            let front = self.ready.front()?;
            let gate = front.gate.as_ref().or(front.message.gate.as_ref());
            let gate = gate.map_or(GateState::Open, |gate| gate.state());
            match gate {
                GateState::Closed => return None,
                GateState::Open if front.qos != Qos::AtMostOnce && !has_window => return None,
                GateState::Open | GateState::Cancelled => {}
            }
            let delivery = self.ready.pop_front()?;
            self.ready_bytes -= delivery.message.weight();
            if let Some(jam) = &mut self.jam {
                jam.moves();
            }
            self.relax();
            if gate == GateState::Open {
                return Some(delivery);
            }
        }
    }

    /// The owner has taken what it can: it must be woken for more.
    pub(crate) fn rest(&mut self) {
        self.is_scheduled = false;
        self.relax();
    }

    /// Lets publishers go on, or wait again, once the owner has caught up.
    fn relax(&mut self) {
        if self.jam.is_some() && self.is_below_low_watermark() {
            self.release_waiting();
            self.jam = None;
        }
    }

    /// Whether a delivery waits in memory.
    pub(crate) fn len(&self) -> usize {
        self.ready.len()
    }

    /// Deliveries the store holds, those in flight included.
    pub(crate) fn stored(&self) -> u64 {
        self.stored
    }

    /// What they weigh, in bytes.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    /// What waits in memory weighs so many bytes.
    pub(crate) fn len_bytes(&self) -> usize {
        self.ready_bytes
    }

    /// The rows the owner may read now: after the first number, before the second.
    pub(crate) fn readable(&self) -> (u64, u64) {
        let end = self.uncommitted.front().map_or(self.next_seq, |row| row.seq);
        (self.taken_seq, end)
    }

    /// The owner has read rows up to `seq` from the store.
    pub(crate) fn taken(&mut self, seq: u64) {
        self.taken_seq = self.taken_seq.max(seq);
    }

    /// Takes out of memory what `is_meant`; rows of it are the caller's to acknowledge.
    pub(crate) fn remove(&mut self, is_meant: impl Fn(&Delivery) -> bool) -> VecDeque<Delivery> {
        let all = std::mem::take(&mut self.ready);
        let (removed, kept): (VecDeque<_>, VecDeque<_>) = all.into_iter().partition(is_meant);
        self.ready = kept;
        self.ready_bytes -= removed.iter().map(|it| it.message.weight()).sum::<usize>();
        self.relax();
        removed
    }

    /// Puts back a delivery read from the store.
    pub(crate) fn refill(&mut self, delivery: Delivery) {
        self.ready_bytes += delivery.message.weight();
        self.ready.push_back(delivery);
    }

    /// The client has acknowledged a row; `true` if it can go from the store now.
    pub(crate) fn acked(&mut self, seq: u64, weight: usize) -> bool {
        match self.uncommitted.binary_search_by_key(&seq, |row| row.seq) {
            Ok(index) => {
                self.uncommitted[index].is_acked = true;
                false
            }
            Err(_) => {
                self.release(weight as u64);
                true
            }
        }
    }

    /// The commit of a row has ended; `true` if the row is there and has been acknowledged meanwhile.
    pub(crate) fn settled(&mut self, seq: u64, is_committed: bool) -> bool {
        let Ok(index) = self.uncommitted.binary_search_by_key(&seq, |row| row.seq) else {
            return false;
        };
        let row = self.uncommitted.remove(index);
        let is_acked = row.is_some_and(|row| row.is_acked);
        if let Some(row) = row.filter(|_| is_acked || !is_committed) {
            self.release(row.weight.into());
        }
        is_acked && is_committed
    }

    /// Has `waker` woken when there is room again; `true` if there is room already, or no wait for it. Who has
    /// waited in vain and gone on may wait again, as `is_again` says.
    pub(crate) fn wait_for_room(&mut self, waker: &Waker, is_again: bool) -> bool {
        let is_over = self.is_lagging() != is_again || self.is_below_low_watermark();
        if !self.is_connected || is_over {
            return true;
        }
        self.jam.get_or_insert_default().wait(waker);
        false
    }

    /// A publisher has waited in vain: until the queue has been empty enough only those wait that bring much at once.
    pub(crate) fn give_up(&mut self, now: Instant) {
        self.jam.get_or_insert_default().give_up(now);
    }

    /// Whether it is not worth waiting for the owner: it has taken nothing for so long.
    pub(crate) fn is_stuck(&self, now: Instant) -> bool {
        self.jam.as_ref().is_some_and(|jam| jam.is_stuck(now))
    }

    fn is_lagging(&self) -> bool {
        self.jam.as_ref().is_some_and(|jam| jam.is_lagging())
    }

    fn release_waiting(&mut self) {
        if let Some(jam) = &mut self.jam {
            jam.release();
        }
    }

    /// Whether publishers should wait.
    pub(crate) fn is_over_watermark(&self) -> bool {
        self.ready.len() * 4 >= self.bounds.ready_max * 3
            || self.ready_bytes * 4 >= self.bounds.ready_bytes_max * 3
    }

    fn is_below_low_watermark(&self) -> bool {
        self.ready.len() * 2 <= self.bounds.ready_max
            && self.ready_bytes * 2 <= self.bounds.ready_bytes_max
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.leave_backlog();
    }
}

#[cfg(test)]
mod model_tests;
