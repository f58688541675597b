//! What waits to go out of a bridge, and in which order. Plain state: no I/O, no clock.
//!
//! A message of QoS 1 has a *place*: a sequence number and a row in the store. As long as the bridge keeps up it is
//! also in memory, in `ready`; beyond the bound of that it is on disk only, and read back in order ([`Queue::gap`]).
//! A message of QoS 0 is in memory or nowhere. What is in flight and comes back unsent goes to the front again, in
//! order: nothing new is sent until everything in flight has come to an end.

use super::config::{Policy, QueueConfig};
use std::collections::{BTreeMap, VecDeque};

/// Messages in memory. Enough for a full window and the next commits.
const READY_MAX: usize = 2000;

/// Bytes in memory.
const READY_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A message in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ready<T> {
    /// Its row; `None` for QoS 0.
    pub(super) seq: Option<u64>,
    pub(super) bytes: u64,
    pub(super) item: T,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    seq: u64,
    bytes: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its commit is under way.
    Uncommitted,
    Waiting,
    InFlight,
}

/// Whether a message gets a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Admission {
    /// Its sequence number; `None` at the bound.
    pub(super) seq: Option<u64>,
    /// Places given up for it.
    pub(super) evicted: Vec<u64>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Queue<T> {
    config: QueueConfig,
    /// Everything on disk, first to last.
    places: VecDeque<Place>,
    bytes: u64,
    next_seq: u64,
    ready: VecDeque<Ready<T>>,
    ready_bytes: u64,
    /// The last place that is or was in memory.
    taken_seq: u64,
    /// By the number under which they were handed over.
    in_flight: BTreeMap<u64, Ready<T>>,
    next_ticket: u64,
    /// Came back unsent.
    returned: BTreeMap<u64, Ready<T>>,
    /// Messages of QoS 0, ready or in flight.
    transient: u64,
}

impl<T> Queue<T> {
    /// A queue that holds `places` (sequence number, bytes) on disk.
    pub(super) fn new(config: QueueConfig, places: Vec<(u64, u64)>) -> Self {
        let waiting = |(seq, bytes)| Place { seq, bytes, state: State::Waiting };
        let places: VecDeque<Place> = places.into_iter().map(waiting).collect();
        Self {
            config,
            bytes: places.iter().map(|it| it.bytes).sum(),
            next_seq: places.back().map_or(1, |last| last.seq + 1),
            places,
            ready: VecDeque::new(),
            ready_bytes: 0,
            taken_seq: 0,
            in_flight: BTreeMap::new(),
            next_ticket: 0,
            returned: BTreeMap::new(),
            transient: 0,
        }
    }

    /// Messages that are owed to the remote broker.
    pub(super) fn len(&self) -> u64 {
        self.places.len() as u64 + self.transient
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Finds a place for a message of so many bytes.
    pub(super) fn admit(&mut self, bytes: u64) -> Admission {
        let mut evicted = Vec::new();
        if self.config.policy == Policy::DropOldest && bytes <= self.config.bytes_max {
            while self.is_full(bytes) {
                let Some(seq) = self.oldest_waiting() else { break };
                self.remove(seq);
                evicted.push(seq);
            }
        }
        if self.is_full(bytes) {
            return Admission { seq: None, evicted };
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        self.bytes += bytes;
        self.places.push_back(Place { seq, bytes, state: State::Uncommitted });
        Admission { seq: Some(seq), evicted }
    }

    fn is_full(&self, bytes: u64) -> bool {
        self.places.len() as u64 >= self.config.messages_max
            || self.bytes + bytes > self.config.bytes_max
    }

    fn oldest_waiting(&self) -> Option<u64> {
        let is_waiting = |it: &&Place| {
            // What has come back unsent is about to be sent again.
            it.state == State::Waiting && !self.returned.values().any(|at| at.seq == Some(it.seq))
        };
        self.places.iter().find(is_waiting).map(|it| it.seq)
    }

    /// The commit of a place has ended; a message that is next in line stays in memory.
    pub(super) fn committed(&mut self, seq: u64, item: T) {
        let is_in_line = self.gap().is_none_or(|(_, next)| next == seq);
        let Some(place) = self.place(seq) else { return };
        if place.state == State::Uncommitted {
            place.state = State::Waiting;
        }
        let bytes = place.bytes;
        if seq > self.taken_seq && is_in_line && self.has_room() {
            self.taken_seq = seq;
            self.ready_bytes += bytes;
            self.ready.push_back(Ready { seq: Some(seq), bytes, item });
        }
    }

    /// The commit of a place has failed.
    pub(super) fn failed(&mut self, seq: u64) {
        self.remove(seq);
    }

    /// Takes in a message of QoS 0; `false` if there is no room for it.
    pub(super) fn push_transient(&mut self, bytes: u64, item: T) -> bool {
        if !self.has_room() {
            return false;
        }
        self.transient += 1;
        self.ready_bytes += bytes;
        self.ready.push_back(Ready { seq: None, bytes, item });
        true
    }

    fn has_room(&self) -> bool {
        self.ready.len() < READY_MAX && self.ready_bytes < READY_BYTES_MAX
    }

    /// The places on disk that are next in line and not in memory: those after the first number, of which the
    /// second is the first.
    pub(super) fn gap(&self) -> Option<(u64, u64)> {
        let from = self.places.partition_point(|it| it.seq <= self.taken_seq);
        let next = self.places.get(from)?;
        Some((self.taken_seq, next.seq))
    }

    /// Whether messages have to be read from disk before the next can be sent, and after which place.
    pub(super) fn wants_to_read(&self) -> Option<u64> {
        let (after, next) = self.gap()?;
        let is_there = self
            .places
            .binary_search_by_key(&next, |it| it.seq)
            .is_ok_and(|at| self.places[at].state == State::Waiting);
        (self.ready.is_empty() && is_there).then_some(after)
    }

    /// Takes in what was read at a place; `None` if it is damaged, which gives the place up. `true` if it was owed.
    pub(super) fn read(&mut self, seq: u64, item: Option<T>) -> bool {
        self.taken_seq = self.taken_seq.max(seq);
        let Some(place) = self.place(seq) else { return false };
        if place.state == State::InFlight {
            return false;
        }
        // It can be read before its own end of the commit is heard of.
        place.state = State::Waiting;
        let bytes = place.bytes;
        match item {
            Some(item) => {
                self.ready_bytes += bytes;
                self.ready.push_back(Ready { seq: Some(seq), bytes, item });
            }
            None => self.remove(seq),
        }
        true
    }

    /// The place after which nothing could be read although something is owed: gives up what is next.
    pub(super) fn give_up_next(&mut self) -> Option<u64> {
        let (_, next) = self.gap()?;
        self.taken_seq = next;
        self.remove(next);
        Some(next)
    }

    /// The next message to hand over, with its ticket. None while something that came back waits for the rest.
    pub(super) fn next(&mut self) -> Option<(u64, &Ready<T>)> {
        if !self.returned.is_empty() {
            if !self.in_flight.is_empty() {
                return None;
            }
            for (_, ready) in std::mem::take(&mut self.returned).into_iter().rev() {
                self.ready_bytes += ready.bytes;
                self.ready.push_front(ready);
            }
        }
        let ready = self.ready.pop_front()?;
        self.ready_bytes -= ready.bytes;
        if let Some(seq) = ready.seq
            && let Some(place) = self.place(seq)
        {
            place.state = State::InFlight;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        Some((ticket, self.in_flight.entry(ticket).or_insert(ready)))
    }

    /// What was handed over is done with, sent or dropped: the place that is free now, if it had one.
    pub(super) fn done(&mut self, ticket: u64) -> Option<u64> {
        let ready = self.in_flight.remove(&ticket)?;
        match ready.seq {
            Some(seq) => self.remove(seq),
            None => self.transient -= 1,
        }
        ready.seq
    }

    /// What was handed over has not been sent. `false` if it is dropped, being of QoS 0.
    pub(super) fn returned(&mut self, ticket: u64) -> bool {
        let Some(ready) = self.in_flight.remove(&ticket) else { return true };
        let Some(seq) = ready.seq else {
            self.transient -= 1;
            return false;
        };
        if let Some(place) = self.place(seq) {
            place.state = State::Waiting;
        }
        self.returned.insert(ticket, ready);
        true
    }

    /// Drops the messages of QoS 0 that wait, because there is no connection any more; how many.
    pub(super) fn drop_transient(&mut self) -> u64 {
        let mut dropped = 0;
        let ready_bytes = &mut self.ready_bytes;
        self.ready.retain(|ready| {
            let is_kept = ready.seq.is_some();
            if !is_kept {
                dropped += 1;
                *ready_bytes -= ready.bytes;
            }
            is_kept
        });
        self.transient -= dropped;
        dropped
    }

    fn place(&mut self, seq: u64) -> Option<&mut Place> {
        let at = self.places.binary_search_by_key(&seq, |it| it.seq).ok()?;
        self.places.get_mut(at)
    }

    fn remove(&mut self, seq: u64) {
        if let Ok(at) = self.places.binary_search_by_key(&seq, |it| it.seq)
            && let Some(place) = self.places.remove(at)
        {
            self.bytes -= place.bytes;
        }
        if let Some(at) = self.ready.iter().position(|ready| ready.seq == Some(seq))
            && let Some(ready) = self.ready.remove(at)
        {
            self.ready_bytes -= ready.bytes;
        }
    }
}

#[cfg(test)]
mod tests;
