//! What has been sent with QoS 1 or 2 and is not over yet (MQTT 5.0 4.3.2, 4.3.3 and 4.9).
//!
//! Plain state: hands out packet identifiers, keeps to the client's receive maximum, and gives everything back for
//! sending again, in order and with the same identifiers, when the client returns (4.4). The identifier of a delivery
//! that has a row follows from the row, so that it is the same after a restart without having been written down.

use crate::session::acks::{AckGate, Hold};
use crate::session::queue::{Delivery, Progress};
use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::Arc;

/// Identifiers of deliveries without a row; those with one have the rest.
const TRANSIENT_IDS: u16 = 16_383;
const DURABLE_IDS: u64 = (u16::MAX - TRANSIENT_IDS) as u64;

/// The most entries since the oldest open one; fewer than there are identifiers of either sort.
const PLACES_MAX: usize = 16_000;

/// The packet identifier of the delivery in row `seq`. Rows closer than [`DURABLE_IDS`] have different ones.
fn durable_id(seq: u64) -> NonZeroU16 {
    let offset = (seq % DURABLE_IDS) as u16;
    NonZeroU16::MIN.saturating_add(TRANSIENT_IDS + offset)
}

/// Deliveries in flight, in the order they were sent.
#[derive(Debug)]
pub(crate) struct Inflight {
    sent: VecDeque<Entry>,
    /// Entries that have left the front.
    gone: u64,
    /// Entries that are not over.
    open: u32,
    /// Those of them that were sent on this connection: what its receive maximum counts.
    charged: u32,
    /// The place, counted with `gone`, of the first entry that is still to be sent again on this connection.
    again: u64,
    /// Where the search for the next PUBACK or PUBREC begins.
    hint: u64,
    window: u32,
    next_transient: u16,
    /// The highest row sent.
    sent_seq: u64,
    /// Rows below this one have identifiers that no row in flight has.
    free_below: u64,
}

#[derive(Debug)]
struct Entry {
    packet_id: NonZeroU16,
    state: State,
}

#[derive(Debug)]
enum State {
    /// PUBACK or PUBREC is to come.
    Sent(Delivery),
    /// PUBREC has come, PUBCOMP is to come. PUBREL is not sent before the gate, if there is one, is open.
    Released {
        seq: Option<u64>,
        weight: usize,
        gate: Option<Arc<AckGate>>,
    },
    Over,
}

/// What a PUBREC from the client means.
#[derive(Debug)]
pub(crate) enum Received {
    /// It has the message: PUBREL may be sent once the row, if there is one, says so.
    First { seq: Option<u64>, flags: u8 },
    /// It had said so before.
    Again(Option<Arc<AckGate>>),
    /// Nothing of that identifier is in flight.
    Unknown,
    /// That message is not sent with QoS 2.
    Violation,
}

/// What is to be sent again.
#[derive(Debug)]
pub(crate) enum Again<'a> {
    Publish(NonZeroU16, &'a Delivery),
    /// PUBREL. `seq` is the row that has yet to say so.
    Release {
        packet_id: NonZeroU16,
        seq: Option<u64>,
    },
}

impl Inflight {
    /// An empty one; `window` is the most deliveries in flight.
    pub(crate) fn new(window: u16) -> Self {
        Self {
            sent: VecDeque::new(),
            gone: 0,
            open: 0,
            charged: 0,
            again: 0,
            hint: 0,
            window: u32::from(window.max(1)),
            next_transient: 1,
            sent_seq: 0,
            free_below: 0,
        }
    }

    /// Goes on with another connection, whose client takes `window` at once.
    pub(crate) fn resume(&mut self, window: u16) {
        self.window = u32::from(window.max(1));
        self.charged = 0;
        self.again = self.gone;
    }

    /// Whether one more may be sent, everything that had to be sent again having been so.
    pub(crate) fn has_window(&self) -> bool {
        // Entries that are over keep their place behind an open one, hence the second bound.
        self.charged < self.window && self.sent.len() < PLACES_MAX && !self.is_resuming()
    }

    /// Whether the identifier of this row is free.
    pub(crate) fn has_id_for(&mut self, seq: u64) -> bool {
        if seq < self.free_below {
            return true;
        }
        let open = self.sent.iter().filter_map(|entry| match &entry.state {
            State::Sent(delivery) => delivery.seq,
            State::Released { seq, .. } => *seq,
            State::Over => None,
        });
        self.free_below = open.min().unwrap_or(seq) + DURABLE_IDS;
        seq < self.free_below
    }

    /// How many are not over.
    pub(crate) fn len(&self) -> usize {
        self.open as usize
    }

    /// The highest row that has been sent.
    pub(crate) fn sent_seq(&self) -> u64 {
        self.sent_seq
    }

    /// The packet identifier for a delivery; none in flight has it. Those without a row go round in order, and `sent`
    /// holds fewer than there are.
    pub(crate) fn id_for(&self, delivery: &Delivery) -> NonZeroU16 {
        match delivery.seq {
            Some(seq) => durable_id(seq),
            None => NonZeroU16::new(self.next_transient).unwrap_or(NonZeroU16::MIN),
        }
    }

    /// Passes over a delivery that cannot be sent.
    pub(crate) fn skip(&mut self, delivery: &Delivery) {
        self.sent_seq = self.sent_seq.max(delivery.seq.unwrap_or(0));
    }

    /// Has sent a delivery under [`Inflight::id_for`]; or its PUBREL, if that is how far it had come.
    pub(crate) fn send(&mut self, mut delivery: Delivery) -> NonZeroU16 {
        let packet_id = self.id_for(&delivery);
        if is_exactly_once(&delivery) {
            // A group may give it to nobody else from now on, even if this session ends (MQTT 5.0 4.8.2-5).
            had(&mut delivery);
        }
        match delivery.seq {
            Some(seq) => self.sent_seq = self.sent_seq.max(seq),
            None => self.next_transient = self.next_transient % TRANSIENT_IDS + 1,
        }
        let state = match delivery.progress {
            Progress::Released => {
                let weight = delivery.message.weight();
                State::Released { seq: delivery.seq, weight, gate: None }
            }
            Progress::New | Progress::MaybeSent => State::Sent(delivery),
        };
        self.sent.push_back(Entry { packet_id, state });
        self.open += 1;
        self.charged += 1;
        self.again = self.end();
        packet_id
    }

    /// PUBACK, or a PUBREC that says no. The row of the delivery that is over with it; `None` if nothing of that
    /// identifier waits for one. An error if the packet does not go with the QoS.
    pub(crate) fn ack(&mut self, packet_id: NonZeroU16, is_rec: bool) -> Result<Option<Over>, ()> {
        let Some(index) = self.find(packet_id, self.hint) else { return Ok(None) };
        match &mut self.sent[index].state {
            State::Sent(delivery) if is_exactly_once(delivery) == is_rec => {
                let over = Over::of(delivery);
                had(delivery);
                self.hint = self.gone + index as u64 + 1;
                self.end_entry(index);
                Ok(Some(over))
            }
            // A PUBREC that says no after one that said yes changes nothing any more.
            State::Released { .. } if is_rec => Ok(None),
            _ => Err(()),
        }
    }

    /// PUBREC.
    pub(crate) fn received(&mut self, packet_id: NonZeroU16) -> Received {
        let Some(index) = self.find(packet_id, self.hint) else { return Received::Unknown };
        match &mut self.sent[index].state {
            State::Sent(delivery) if is_exactly_once(delivery) => {
                let (seq, flags) = (delivery.seq, delivery.released_flags());
                let weight = delivery.message.weight();
                self.hint = self.gone + index as u64 + 1;
                self.sent[index].state = State::Released { seq, weight, gate: None };
                Received::First { seq, flags }
            }
            State::Released { gate, .. } => Received::Again(gate.clone()),
            State::Sent(_) | State::Over => Received::Violation,
        }
    }

    /// PUBREL of this identifier waits for `gate`.
    pub(crate) fn release_after(&mut self, packet_id: NonZeroU16, opens: &Arc<AckGate>) {
        if let Some(index) = self.find(packet_id, self.gone)
            && let State::Released { gate, .. } = &mut self.sent[index].state
        {
            *gate = Some(Arc::clone(opens));
        }
    }

    /// PUBCOMP. `None` if nothing of that identifier is in flight; an error if it is not that far.
    pub(crate) fn complete(&mut self, packet_id: NonZeroU16) -> Result<Option<Over>, ()> {
        let Some(index) = self.find(packet_id, self.gone) else { return Ok(None) };
        let State::Released { seq, weight, .. } = &self.sent[index].state else { return Err(()) };
        let over = Over { seq: *seq, weight: *weight };
        self.end_entry(index);
        Ok(Some(over))
    }

    /// Whether something is still to be sent again on this connection.
    pub(crate) fn is_resuming(&self) -> bool {
        self.again < self.end()
    }

    /// The next one to be sent again, in order; `None` while the window is full, or if there is none.
    pub(crate) fn next_again(&mut self) -> Option<Again<'_>> {
        while self.is_resuming() {
            let index = (self.again - self.gone) as usize;
            match &self.sent[index].state {
                State::Over => self.again += 1,
                State::Sent(_) if self.charged >= self.window => return None,
                State::Sent(_) | State::Released { .. } => {
                    self.again += 1;
                    self.charged += 1;
                    return Some(again(&self.sent[index]));
                }
            }
        }
        None
    }

    /// Lets go of what groups have lent and the client has not: others are to have it.
    pub(crate) fn give_back_lent(&mut self) {
        let is_lent = |it: &Delivery| it.hold.as_ref().is_some_and(Hold::is_lent);
        // In their order, which is the order in which the group gets them back.
        let mut place = self.gone;
        while place < self.end() {
            let index = (place - self.gone) as usize;
            place += 1;
            if matches!(&self.sent[index].state, State::Sent(delivery) if is_lent(delivery)) {
                self.end_entry(index);
                place = place.max(self.gone);
            }
        }
    }

    /// Takes a delivery out that the client of now cannot be sent.
    pub(crate) fn give_up(&mut self, packet_id: NonZeroU16) -> Option<Over> {
        let index = self.find(packet_id, self.gone)?;
        let State::Sent(delivery) = &mut self.sent[index].state else { return None };
        let over = Over::of(delivery);
        had(delivery);
        self.end_entry(index);
        Some(over)
    }

    /// The identifiers of what is not over, in order.
    #[cfg(test)]
    pub(crate) fn open_ids(&self) -> Vec<NonZeroU16> {
        let open = self.sent.iter().filter(|entry| !matches!(entry.state, State::Over));
        open.map(|entry| entry.packet_id).collect()
    }

    /// The place after the last entry, counted with `gone`.
    fn end(&self) -> u64 {
        self.gone + self.sent.len() as u64
    }

    /// Where the open entry of an identifier is. Clients acknowledge in order, so a search from the right place ends
    /// at once nearly always.
    fn find(&self, packet_id: NonZeroU16, from: u64) -> Option<usize> {
        let from = (from.saturating_sub(self.gone) as usize).min(self.sent.len());
        let is_it = |index: &usize| {
            let entry = &self.sent[*index];
            entry.packet_id == packet_id && !matches!(entry.state, State::Over)
        };
        (from..self.sent.len()).find(is_it).or_else(|| (0..from).find(is_it))
    }

    fn end_entry(&mut self, index: usize) {
        self.sent[index].state = State::Over;
        self.open -= 1;
        if self.gone + (index as u64) < self.again {
            self.charged -= 1;
        }
        while matches!(self.sent.front(), Some(Entry { state: State::Over, .. })) {
            self.sent.pop_front();
            self.gone += 1;
        }
        self.again = self.again.max(self.gone);
        const RESTING_MAX: usize = 32;
        if self.sent.is_empty() && self.sent.capacity() > RESTING_MAX {
            // A connection that rests keeps little memory.
            self.sent = VecDeque::new();
        }
    }
}

/// A delivery that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Over {
    /// Its row, which may go.
    pub(crate) seq: Option<u64>,
    /// What it weighs there.
    pub(crate) weight: usize,
}

impl Over {
    fn of(delivery: &Delivery) -> Self {
        Self { seq: delivery.seq, weight: delivery.message.weight() }
    }
}

/// The client has a message: whoever waits for that need wait no more.
fn had(delivery: &mut Delivery) {
    if let Some(hold) = delivery.hold.take() {
        hold.done();
    }
}

fn is_exactly_once(delivery: &Delivery) -> bool {
    delivery.qos == proto::Qos::ExactlyOnce
}

fn again(entry: &Entry) -> Again<'_> {
    let packet_id = entry.packet_id;
    match &entry.state {
        State::Sent(delivery) => Again::Publish(packet_id, delivery),
        State::Released { seq, gate, .. } => {
            let is_written = gate.as_ref().is_none_or(|gate| gate.outcome() == Some(Ok(())));
            Again::Release { packet_id, seq: seq.filter(|_| !is_written) }
        }
        // Not asked for; a PUBREL too many does no harm.
        State::Over => Again::Release { packet_id, seq: None },
    }
}

#[cfg(test)]
mod tests;
