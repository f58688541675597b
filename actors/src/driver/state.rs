//! Rules of one driver, without I/O: when to connect, subscribe, poll, write and ask, what is good, bad and stale.
//!
//! The shell tells what happened ([`DriverState::connected`], [`DriverState::read`], …) and then
//! asks what follows: [`DriverState::next_command`] for the machine, one at a time and writes
//! first; [`DriverState::unpublished`] and [`Backlog`] for the bus; [`DriverState::wake_at_ms`] for the timer. A
//! value counts as published only once [`DriverState::published`] says so, so one whose commit
//! failed is offered again.
//!
//! A value turns stale when there is no connection and its point was not heard of for two of its
//! poll intervals; it keeps the datum and the time of the last good read. Values of an earlier run
//! are taken over from the retained messages and age in the same way, so a machine that is
//! unreachable at start shows as stale too.

use super::backlog::Backlog;
use super::command::{Answer, Command, Now, Query};
use super::io::Answered;
use super::tag::Tag;
use super::write::{Write, refusal_of};
use computing::Computing;
use drivers::{
    Backoff, ConnectError, Kept, PointId, PointRead, Pushed, QueryError, ReadError, ReadOutcome,
    Schedule, SubscribeError, WriteError,
};
use proto::{Datum, Quality, Refusal, RefusalCode, Value};
use std::collections::{BTreeSet, HashSet, VecDeque};

/// How long before what could not be published is offered again, if nothing else happens.
const RETRY_MS: u64 = 1000;

mod computing;
mod intake;

/// Values that wait to be published while newer ones of their points wait too, as when no commit succeeds; then the
/// oldest go.
const PASSED_MAX: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// There is none; try again at this time.
    Down {
        retry_at_ms: u64,
    },
    Connecting,
    Up,
}

/// The state of one driver.
pub(crate) struct DriverState {
    tags: Vec<Tag>,
    /// Those that are published from time to time without a change.
    repeated: Vec<PointId>,
    /// When it was last looked what has to be published.
    seen_ms: u64,
    link: Link,
    /// Whether points are pushed rather than polled.
    is_pushed: bool,
    /// They are yet to be subscribed to, on this connection.
    must_subscribe: bool,
    /// A command is under way.
    is_busy: bool,
    /// Found out while a command was under way, which may not have noticed.
    late_loss: Option<String>,
    /// The tickets of the writes or the question under way, if it is one.
    serving: Vec<u64>,
    /// The points of the writes under way, in the order of the tickets.
    writing: Vec<PointId>,
    /// How many writes are under way at most.
    writes_at_once: usize,
    schedule: Schedule,
    backoff: Backoff,
    writes: VecDeque<Write>,
    writes_max: usize,
    asks: VecDeque<(u64, Query)>,
    /// Points written and to be read at once, so that the new value shows before the next tick.
    reread: BTreeSet<PointId>,
    /// Points whose value has to be published.
    dirty: BTreeSet<PointId>,
    /// Values to be published before those, of points that have had further ones in the same batch.
    passed: VecDeque<(PointId, Value)>,
    /// What is computed from other tags.
    computing: Computing,
    /// What is published besides values as they stand.
    pub(super) backlog: Backlog,
    /// The machine was read last, so that history comes before the next read.
    is_turn_of_history: bool,
    /// Why there is no connection.
    reason: Option<String>,
    ticks_missed: u64,
}

impl DriverState {
    /// A driver that has yet to connect, and whose points are then pushed or polled. `backfill_max_ms` is how far back
    /// the machine is asked for what it has kept.
    pub(crate) fn new(
        tags: Vec<Tag>,
        is_pushed: bool,
        backfill_max_ms: u64,
        writes_max: usize,
        now: Now,
    ) -> Self {
        let backlog = Backlog::new(backfill_max_ms, tags.len());
        let again = (0_u32..).zip(&tags).filter(|(_, tag)| tag.pacing.max_interval_ms > 0);
        let repeated = again.map(|(index, _)| PointId(index)).collect();
        Self {
            tags,
            repeated,
            seen_ms: now.ms,
            is_pushed,
            must_subscribe: false,
            link: Link::Down { retry_at_ms: now.ms },
            is_busy: false,
            late_loss: None,
            serving: Vec::new(),
            writing: Vec::new(),
            writes_at_once: 1,
            schedule: Schedule::new([], now.ms),
            backoff: Backoff::of_machine(),
            writes: VecDeque::new(),
            asks: VecDeque::new(),
            writes_max,
            reread: BTreeSet::new(),
            dirty: BTreeSet::new(),
            passed: VecDeque::new(),
            computing: Computing::default(),
            backlog,
            is_turn_of_history: false,
            reason: None,
            ticks_missed: 0,
        }
    }

    /// The tags, in the order of their points.
    pub(crate) fn tags(&self) -> &[Tag] {
        &self.tags
    }

    /// Whether there is a connection.
    pub(crate) fn is_connected(&self) -> bool {
        self.link == Link::Up
    }

    /// Why there is no connection, or none yet.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Poll ticks that passed unused since the last call.
    pub(crate) fn take_ticks_missed(&mut self) -> u64 {
        std::mem::take(&mut self.ticks_missed)
    }

    /// How a connect ended; `random` spreads the next attempt.
    pub(crate) fn connected(
        &mut self,
        outcome: Result<(), ConnectError>,
        now: Now,
        random: u64,
    ) -> Vec<Answer> {
        self.is_busy = false;
        match outcome {
            Ok(()) => {
                self.link = Link::Up;
                self.reason = None;
                // Also without a point: whether the machine is there is told by what it pushes.
                self.must_subscribe = self.is_pushed && !self.tags.is_empty();
                if !self.is_pushed {
                    self.poll_from(now);
                }
                self.tags.iter_mut().for_each(Tag::connected);
                Vec::new()
            }
            Err(error) => self.lost(error.to_string(), now, random),
        }
    }

    /// Every point is due, and then by its interval.
    fn poll_from(&mut self, now: Now) {
        let intervals = (0_u32..).zip(&self.tags).filter(|(_, tag)| tag.is_value());
        let intervals = intervals.map(|(index, tag)| (PointId(index), tag.pacing.poll_interval_ms));
        self.schedule = Schedule::new(intervals.collect::<Vec<_>>(), now.ms);
    }

    /// How a subscription began. A machine that does not push after all is polled while this connection lasts.
    pub(crate) fn subscribed(
        &mut self,
        outcome: Result<(), SubscribeError>,
        now: Now,
        random: u64,
    ) -> Vec<Answer> {
        self.is_busy = false;
        match outcome {
            Ok(()) => Vec::new(),
            Err(SubscribeError::Lost(lost)) => self.lost(lost.to_string(), now, random),
            Err(_) => {
                self.poll_from(now);
                Vec::new()
            }
        }
    }

    /// What the machine has pushed.
    pub(crate) fn pushed(&mut self, outcome: Pushed, now: Now, random: u64) -> Vec<Answer> {
        self.backlog.happened(outcome.events);
        let mut seen = HashSet::new();
        for point in outcome.points {
            let (id, tag) = (point.0, self.tags.get(point.0.index()));
            let is_paced = tag.is_none_or(|tag| tag.pacing.min_interval_ms > 0);
            // Each of several values counts, but for a tag of which the last one is asked for.
            if !seen.insert(id) && self.dirty.contains(&id) && !is_paced {
                self.pass(id, now);
            }
            if self.point_read(point, now) {
                self.backoff.reset();
            }
        }
        self.compute(now);
        // What is under way fails by the same loss, and says so; if it does not, it is lost all the same.
        if let Some(lost) = outcome.lost.filter(|_| self.is_connected()) {
            self.late_loss = Some(lost.to_string());
        }
        self.late(now, random)
    }

    /// What follows from a loss that was found out while a command was under way, once that is over.
    pub(crate) fn late(&mut self, now: Now, random: u64) -> Vec<Answer> {
        match self.late_loss.take() {
            Some(reason) if self.is_busy => {
                self.late_loss = Some(reason);
                Vec::new()
            }
            Some(reason) => self.lost(reason, now, random),
            None => Vec::new(),
        }
    }

    /// Keeps the value as it stands, since another one follows.
    fn pass(&mut self, point: PointId, now: Now) {
        if self.passed.len() >= PASSED_MAX {
            self.passed.pop_front();
        }
        self.passed.push_back((point, self.tags[point.index()].value(now.t)));
    }

    /// How a read ended.
    pub(crate) fn read(&mut self, outcome: ReadOutcome, now: Now, random: u64) -> Vec<Answer> {
        self.is_busy = false;
        let mut has_good = false;
        for point in outcome.points {
            has_good |= self.point_read(point, now);
        }
        self.compute(now);
        match outcome.lost {
            Some(lost) => self.lost(lost.to_string(), now, random),
            None => {
                if has_good {
                    self.backoff.reset();
                }
                Vec::new()
            }
        }
    }

    fn point_read(&mut self, (point, outcome): PointRead, now: Now) -> bool {
        let Some(tag) = self.tags.get_mut(point.index()) else { return false };
        let (is_good, is_news) = match outcome {
            Ok(sample) => {
                let gap = tag.gap_before(point, &sample);
                if let Some((gap, last)) = gap {
                    self.backlog.was_away(gap, last);
                }
                (true, tag.take_good(sample, now))
            }
            Err(ReadError::ConnectionLost) => (false, false),
            Err(error) => (false, tag.take_bad(error.to_string(), now)),
        };
        if is_news && tag.is_value() {
            self.dirty.insert(point);
        }
        self.computing.heard(point);
        is_good
    }

    /// How a question ended; what was read counts as read.
    pub(crate) fn asked(&mut self, answered: Answered, now: Now, random: u64) -> Vec<Answer> {
        self.is_busy = false;
        self.serving.clear();
        match answered {
            Answered::Read(outcome) => self.read(outcome, now, random),
            Answered::Found(Err(QueryError::Lost(lost)))
            | Answered::Identity(Err(QueryError::Lost(lost)))
            | Answered::Returned(Err(QueryError::Lost(lost))) => {
                self.lost(lost.to_string(), now, random)
            }
            Answered::Found(_) | Answered::Identity(_) | Answered::Returned(_) => Vec::new(),
        }
    }

    /// What the machine has kept of the gaps that it was asked for.
    pub(crate) fn recalled(
        &mut self,
        outcome: Result<Vec<Kept>, QueryError>,
        now: Now,
        random: u64,
    ) -> Vec<Answer> {
        self.is_busy = false;
        let lost = match &outcome {
            Err(QueryError::Lost(lost)) => Some(lost.to_string()),
            _ => None,
        };
        self.backlog.recalled(outcome, &self.tags);
        lost.map(|reason| self.lost(reason, now, random)).unwrap_or_default()
    }

    /// How the writes ended that were under way, in their order.
    pub(crate) fn written(
        &mut self,
        outcomes: Vec<Result<Datum, WriteError>>,
        now: Now,
        random: u64,
    ) -> Vec<Answer> {
        self.is_busy = false;
        // Also after a failure: what the machine holds now is not known.
        self.reread.extend(self.writing.drain(..));
        let lost = outcomes.iter().find_map(|outcome| match outcome {
            Err(WriteError::Lost(lost)) => Some(lost.to_string()),
            _ => None,
        });
        let told = outcomes.into_iter().map(|outcome| {
            outcome.map(|written| written.to_json()).map_err(|error| refusal_of(&error))
        });
        let mut answers: Vec<Answer> = self.serving.drain(..).zip(told).collect();
        if let Some(lost) = lost {
            answers.extend(self.lost(lost, now, random));
        }
        answers
    }

    /// The connection is gone; the writes that waited for it are refused.
    pub(crate) fn lost(&mut self, reason: String, now: Now, random: u64) -> Vec<Answer> {
        let retry_at_ms = now.ms + self.backoff.next_delay_ms(random);
        self.link = Link::Down { retry_at_ms };
        self.is_busy = false;
        self.late_loss = None;
        self.must_subscribe = false;
        self.backlog.lost();
        self.reread.clear();
        self.ticks_missed += self.schedule.ticks_missed();
        self.schedule = Schedule::new([], now.ms);
        let message = format!("the machine is not connected: {reason}");
        let refused = Refusal::new(RefusalCode::Unavailable, message);
        self.reason = Some(reason);
        // Those under way are here only if the driver hung: their own outcome never comes.
        self.writing.clear();
        let tickets = std::mem::take(&mut self.serving).into_iter();
        let tickets = tickets.chain(self.writes.drain(..).map(|write| write.ticket));
        let tickets = tickets.chain(self.asks.drain(..).map(|(ticket, _)| ticket));
        tickets.map(|ticket| (ticket, Err(refused.clone()))).collect()
    }

    /// When the next poll is due, while there is a connection.
    pub(crate) fn poll_due_ms(&self) -> Option<u64> {
        self.schedule.next_due_ms()
    }

    /// Marks what has become stale by `now`, and what has to be said again.
    pub(crate) fn age(&mut self, now: Now) {
        self.seen_ms = now.ms;
        for point in &self.repeated {
            if self.tags[point.index()].again_at_ms().is_some_and(|at_ms| at_ms <= now.ms) {
                self.dirty.insert(*point);
            }
        }
        if !self.is_connected() {
            self.age_without_machine(now);
        }
        self.compute(now);
    }

    fn age_without_machine(&mut self, now: Now) {
        for (index, tag) in (0_u32..).zip(&mut self.tags) {
            if tag.stale_at_ms().is_some_and(|at_ms| at_ms <= now.ms) {
                tag.quality = Quality::Stale;
                if tag.is_published() {
                    self.dirty.insert(PointId(index));
                }
                self.computing.heard(PointId(index));
            }
        }
    }

    /// What to ask the machine now, if it is free. The shell has to carry it out.
    pub(crate) fn next_command(&mut self, now: Now) -> Option<Command> {
        if self.is_busy {
            return None;
        }
        let command = match self.link {
            Link::Down { retry_at_ms } if retry_at_ms <= now.ms => {
                self.link = Link::Connecting;
                Command::Connect
            }
            Link::Down { .. } | Link::Connecting => return None,
            Link::Up => self.next_request(now)?,
        };
        self.is_busy = true;
        Some(command)
    }

    fn next_request(&mut self, now: Now) -> Option<Command> {
        if !self.writes.is_empty() {
            return Some(Command::Write(self.next_writes()));
        }
        if let Some((ticket, query)) = self.asks.pop_front() {
            self.serving = vec![ticket];
            return Some(Command::Ask(ticket, query));
        }
        if std::mem::take(&mut self.must_subscribe) {
            let heard = (0_u32..).zip(&self.tags).filter(|(_, tag)| tag.is_heard());
            return Some(Command::Subscribe(heard.map(|(index, _)| PointId(index)).collect()));
        }
        // A machine that is read without a pause has time for both, by turns.
        if std::mem::take(&mut self.is_turn_of_history)
            && let Some(gaps) = self.backlog.next_gaps()
        {
            return Some(Command::Recall(gaps));
        }
        let mut points = std::mem::take(&mut self.reread);
        points.extend(self.schedule.take_due(now.ms));
        if points.is_empty() {
            return self.backlog.next_gaps().map(Command::Recall);
        }
        self.is_turn_of_history = true;
        Some(Command::Read(points.into_iter().collect()))
    }

    /// When to look again, whatever else happens; `None` while an outcome has to come first.
    pub(crate) fn wake_at_ms(&self) -> Option<u64> {
        let machine = match self.link {
            _ if self.is_busy => None,
            Link::Down { retry_at_ms } => Some(retry_at_ms),
            Link::Connecting => None,
            Link::Up => self.schedule.next_due_ms(),
        };
        let stale = match self.link {
            Link::Up => None,
            _ => self.tags.iter().filter_map(Tag::stale_at_ms).min(),
        };
        let held = self.dirty.iter();
        let held = held.filter_map(|it| self.tags[it.index()].held_until_ms(self.seen_ms)).min();
        let again = self.repeated.iter().filter_map(|it| self.tags[it.index()].again_at_ms()).min();
        // What was due already is offered again with the next outcome, and not at once.
        let again = again.filter(|at_ms| *at_ms > self.seen_ms);
        // What could not be published; where it could, the shell goes on by itself.
        let is_left = self.backlog.is_waiting() || self.has_unpublished();
        let retry = is_left.then_some(self.seen_ms + RETRY_MS);
        machine.into_iter().chain(stale).chain(held).chain(again).chain(retry).min()
    }

    /// Whether a value that is due has yet to be published.
    fn has_unpublished(&self) -> bool {
        let is_held =
            |point: &PointId| self.tags[point.index()].held_until_ms(self.seen_ms).is_some();
        !self.passed.is_empty() || self.dirty.iter().any(|point| !is_held(point))
    }

    /// The values to publish, each with its point; those that have passed first.
    pub(crate) fn unpublished(&self, now: Now) -> Vec<(PointId, Value)> {
        let due = self.dirty.iter().map(|point| (*point, &self.tags[point.index()]));
        let due = due.filter(|(_, tag)| tag.held_until_ms(now.ms).is_none());
        let due = due.map(|(point, tag)| (point, tag.value(now.t)));
        self.passed.iter().cloned().chain(due).collect()
    }

    /// The next of the values to publish are on the bus, durably.
    pub(crate) fn published(&mut self, values: Vec<(PointId, Value)>, now: Now) {
        let passed = self.passed.len().min(values.len());
        self.passed.drain(..passed);
        for (index, (point, value)) in values.into_iter().enumerate() {
            // What has passed says nothing of the value that the point has now.
            if index >= passed {
                self.dirty.remove(&point);
            }
            self.tags[point.index()].note_published(value, now.ms);
        }
    }
}

#[cfg(test)]
mod tests;
