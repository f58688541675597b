//! Rules of the commands of one thing, without I/O or clock: what each event leads to, as a list of [`Change`]s.
//!
//! Before anything else is decided at a moment, [`Book::due`] ends what has reached its deadline by then. So a
//! response that comes at the deadline or after it is late, however busy the timer is.

use super::document::{Invocation, Response};
use super::row::{Ended, Final, Open, ReplyTo};
use proto::{CommandId, CommandName, Refusal, RefusalCode, TimestampMs};
use serde_json::Value as Json;
use std::collections::VecDeque;

/// How much a thing may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The most commands that have yet to end.
    pub(crate) open_max: usize,
    /// The most that are remembered after their end.
    pub(crate) remembered_max: usize,
    /// How long they are, in milliseconds.
    pub(crate) remembered_ms: u64,
}

/// The commands of one thing; few, so that they are found by looking through them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Book {
    /// In the order in which they were asked for.
    open: VecDeque<(CommandId, Open)>,
    /// In the order in which they ended.
    ended: VecDeque<(CommandId, Ended)>,
}

/// Who asks, and where the answer goes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asker {
    /// Its identity, for people.
    pub(crate) by: String,
    /// Where the answer goes besides.
    pub(crate) reply: Option<ReplyTo>,
    /// Whether the command is one of a broadcast.
    pub(crate) is_broadcast: bool,
}

/// One thing that changes. [`Book::apply`] puts it in force.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    /// A command is there, to be handed over when the device hears it.
    Taken(CommandId, Open),
    /// It is handed to the device.
    Sent(CommandId, TimestampMs),
    /// Its end is told elsewhere than was asked before.
    Redirected(CommandId, Option<ReplyTo>),
    /// It has ended, or was rejected as it came; where that is told besides.
    Ended(CommandId, Ended, Option<ReplyTo>),
    /// How it ended is not remembered any more.
    Forgotten(CommandId),
}

/// What asking for a command leads to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Invoked {
    /// It is new.
    New(Vec<Change>),
    /// The id is that of a command that is open.
    Running(Vec<Change>),
    /// The id is that of a command that has ended.
    Over,
}

impl Book {
    /// The book as its rows have it.
    pub(crate) fn new(open: Vec<(CommandId, Open)>, ended: Vec<(CommandId, Ended)>) -> Self {
        let (mut open, mut ended) = (VecDeque::from(open), VecDeque::from(ended));
        open.make_contiguous().sort_by_key(|(_, it)| it.seq);
        ended.make_contiguous().sort_by_key(|(_, it)| it.seq);
        Self { open, ended }
    }

    /// A command that has yet to end.
    pub(crate) fn open(&self, id: &CommandId) -> Option<&Open> {
        self.open.iter().find(|(other, _)| other == id).map(|(_, open)| open)
    }

    /// A command that has ended and is remembered.
    pub(crate) fn ended(&self, id: &CommandId) -> Option<&Ended> {
        self.ended.iter().find(|(other, _)| other == id).map(|(_, ended)| ended)
    }

    /// When the next command reaches its deadline.
    pub(crate) fn next_deadline(&self) -> Option<TimestampMs> {
        self.open.iter().map(|(_, open)| open.deadline).min()
    }

    /// Ends what has reached its deadline, and forgets what ended long ago.
    pub(crate) fn due(&self, now: TimestampMs, limits: &Limits) -> Vec<Change> {
        let is_due = |(_, open): &&(CommandId, Open)| open.deadline <= now;
        let ends = self.open.iter().filter(is_due).map(|(id, open)| {
            let (status, refusal) = match open.sent {
                None => (Final::Expired, unreached()),
                Some(_) => (Final::TimedOut, unanswered()),
            };
            (id, open, status, None, Some(to_json(&refusal)))
        });
        self.endings(ends, now, limits)
    }

    /// What asking for a command leads to. `is_heard`: whether the device would hear a command of a name.
    pub(crate) fn invoke(
        &self,
        (name, invocation): (&CommandName, Invocation),
        asker: Asker,
        now: TimestampMs,
        is_heard: impl Fn(&CommandName) -> bool,
        limits: &Limits,
    ) -> Result<Invoked, Refusal> {
        let Invocation { id, input, timeout_ms, queue, progress } = invocation;
        if let Some(open) = self.open(&id) {
            must_be_same(&id, name, &open.name)?;
            let is_redirected = asker.reply.is_some() && asker.reply != open.reply;
            let redirected = is_redirected.then_some(Change::Redirected(id, asker.reply));
            return Ok(Invoked::Running(redirected.into_iter().collect()));
        }
        if let Some(ended) = self.ended(&id) {
            must_be_same(&id, name, &ended.name)?;
            return Ok(Invoked::Over);
        }
        let open = Open {
            seq: self.open.back().map_or(0, |(_, last)| last.seq + 1),
            name: name.clone(),
            input,
            by: asker.by,
            asked: now,
            deadline: TimestampMs(now.0.saturating_add(timeout_ms)),
            sent: None,
            reply: asker.reply,
            progress,
            is_broadcast: asker.is_broadcast,
        };
        if open.deadline <= now {
            let end = (&id, &open, Final::Expired, None, Some(to_json(&unreached())));
            return Ok(Invoked::New(self.endings([end].into_iter(), now, limits)));
        }
        let can_hear = is_heard(name);
        let refusal = match self.open.len() {
            len if len >= limits.open_max => {
                let message = format!("{len} commands of the thing wait for their end already");
                Some(Refusal::new(RefusalCode::TooManyRequests, message))
            }
            _ if !can_hear && !queue => Some(unreachable_now()),
            _ => None,
        };
        if let Some(refusal) = refusal {
            let end = (&id, &open, Final::Rejected, None, Some(to_json(&refusal)));
            return Ok(Invoked::New(self.endings([end].into_iter(), now, limits)));
        }
        // Those before it that the device hears by now go first.
        let mut changes = self.hand_over(now, is_heard);
        changes.push(Change::Taken(id.clone(), open));
        changes.extend(can_hear.then_some(Change::Sent(id, now)));
        Ok(Invoked::New(changes))
    }

    /// Hands over what waits and can be heard, in order.
    pub(crate) fn hand_over(
        &self,
        now: TimestampMs,
        is_heard: impl Fn(&CommandName) -> bool,
    ) -> Vec<Change> {
        let waits = |(_, open): &&(CommandId, Open)| open.sent.is_none() && is_heard(&open.name);
        self.open.iter().filter(waits).map(|(id, _)| Change::Sent(id.clone(), now)).collect()
    }

    /// Whether the device has this command, and has yet to answer it.
    pub(crate) fn is_asked(&self, name: &CommandName, id: &CommandId) -> bool {
        self.asked(name, id).is_some()
    }

    fn asked(&self, name: &CommandName, id: &CommandId) -> Option<&Open> {
        self.open(id).filter(|open| open.name == *name && open.sent.is_some())
    }

    /// What a device's response leads to.
    pub(crate) fn respond(
        &self,
        name: &CommandName,
        response: Response,
        now: TimestampMs,
        limits: &Limits,
    ) -> Result<Vec<Change>, Refusal> {
        let Response { id, outcome } = response;
        let Some(open) = self.asked(name, &id) else { return Err(self.unasked(&id, name)) };
        let end = match outcome {
            Ok(output) => (&id, open, Final::Succeeded, Some(output), None),
            Err(error) => (&id, open, Final::Failed, None, Some(error)),
        };
        Ok(self.endings([end].into_iter(), now, limits))
    }

    /// An edge node has a command now.
    pub(crate) fn taken_elsewhere(&self, id: &CommandId, now: TimestampMs) -> Vec<Change> {
        let is_waiting = self.open(id).is_some_and(|open| open.sent.is_none());
        is_waiting.then(|| Change::Sent(id.clone(), now)).into_iter().collect()
    }

    /// A command has ended at an edge node, which may be heard of before it is known to have it.
    pub(crate) fn end_elsewhere(
        &self,
        id: &CommandId,
        (status, output, error): (Final, Option<Json>, Option<Json>),
        now: TimestampMs,
        limits: &Limits,
    ) -> Vec<Change> {
        let end = self.open(id).map(|open| (id, open, status, output, error));
        self.endings(end.into_iter(), now, limits)
    }

    /// Takes a command back that has yet to end. What the device has of it, it may do all the same.
    pub(crate) fn cancel(
        &self,
        id: &CommandId,
        now: TimestampMs,
        limits: &Limits,
    ) -> Result<Vec<Change>, Refusal> {
        if let Some(open) = self.open(id) {
            let refusal = Refusal::new(RefusalCode::Invalid, CANCELLED);
            let end = (id, open, Final::Rejected, None, Some(to_json(&refusal)));
            return Ok(self.endings([end].into_iter(), now, limits));
        }
        match self.ended(id) {
            Some(_) => {
                let message = format!("the command `{id}` has ended");
                Err(Refusal::new(RefusalCode::Invalid, message).at("id"))
            }
            None => Err(Refusal::not_found("command", id).at("id")),
        }
    }

    /// Ends everything, because the thing is deleted.
    pub(crate) fn retire(&self, now: TimestampMs, limits: &Limits) -> Vec<Change> {
        let refusal = Refusal::new(RefusalCode::NotFound, "the thing was deleted");
        let error = to_json(&refusal);
        let ends = self.open.iter().map(|(id, open)| {
            let error = Some(error.clone());
            (id, open, Final::Rejected, None, error)
        });
        self.endings(ends, now, limits)
    }

    /// Puts a change in force.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Taken(id, open) => self.open.push_back((id.clone(), open.clone())),
            Change::Sent(id, now) => self.alter(id, |open| open.sent = Some(*now)),
            Change::Redirected(id, reply) => self.alter(id, |open| open.reply.clone_from(reply)),
            Change::Ended(id, ended, _) => {
                self.open.retain(|(other, _)| other != id);
                self.ended.push_back((id.clone(), ended.clone()));
            }
            Change::Forgotten(id) => self.ended.retain(|(other, _)| other != id),
        }
    }

    fn alter(&mut self, id: &CommandId, how: impl FnOnce(&mut Open)) {
        if let Some((_, open)) = self.open.iter_mut().find(|(other, _)| other == id) {
            how(open);
        }
    }

    /// These commands end; what is remembered stays within its bounds.
    fn endings<'a>(
        &self,
        ends: impl Iterator<Item = End<'a>>,
        now: TimestampMs,
        limits: &Limits,
    ) -> Vec<Change> {
        let first = self.ended.back().map_or(0, |(_, last)| last.seq + 1);
        let ends = (first..).zip(ends).map(|(seq, (id, open, status, output, error))| {
            let ended = Ended {
                seq,
                name: open.name.clone(),
                by: open.by.clone(),
                asked: open.asked,
                sent: open.sent,
                ended: now,
                status,
                output,
                error,
                is_broadcast: open.is_broadcast,
            };
            Change::Ended(id.clone(), ended, open.reply.clone())
        });
        let mut changes: Vec<Change> = ends.collect();
        let excess = (self.ended.len() + changes.len()).saturating_sub(limits.remembered_max);
        let is_old = |ended: &Ended| ended.ended.0.saturating_add(limits.remembered_ms) <= now.0;
        let forgotten = self.ended.iter().enumerate();
        let forgotten = forgotten.filter(|(place, (_, it))| *place < excess || is_old(it));
        changes.extend(forgotten.map(|(_, (id, _))| Change::Forgotten(id.clone())));
        changes
    }

    fn unasked(&self, id: &CommandId, name: &CommandName) -> Refusal {
        match self.ended(id) {
            Some(ended) if ended.name == *name => {
                let message = format!("the command `{id}` has ended before this response");
                Refusal::new(RefusalCode::Invalid, message).at("id")
            }
            _ => Refusal::not_found("command", id).at("id"),
        }
    }
}

/// The text that tells a command that was taken back from one that was not taken.
pub(crate) const CANCELLED: &str = "cancelled";

type End<'a> = (&'a CommandId, &'a Open, Final, Option<Json>, Option<Json>);

fn must_be_same(id: &CommandId, name: &CommandName, known: &CommandName) -> Result<(), Refusal> {
    if name == known {
        return Ok(());
    }
    let message = format!("the id `{id}` is that of a command `{known}`");
    Err(Refusal::new(RefusalCode::AlreadyExists, message).at("id"))
}

fn unreached() -> Refusal {
    Refusal::new(RefusalCode::Unavailable, "the device did not listen before the deadline")
}

fn unanswered() -> Refusal {
    Refusal::new(RefusalCode::TimedOut, "the device did not answer before the deadline")
}

fn unreachable_now() -> Refusal {
    Refusal::new(RefusalCode::Unavailable, "the device does not listen to this command now")
}

/// Made of texts: there is no way to fail.
pub(crate) fn to_json(refusal: &Refusal) -> Json {
    serde_json::to_value(refusal).unwrap_or_default()
}

#[cfg(test)]
mod tests;
