//! What a driver takes in for its machine: writes and questions, which are refused at once where they cannot be served.

use super::DriverState;
use crate::driver::command::Query;
use crate::driver::write::Write;
use drivers::{PointId, PointWrite, TagKind};
use proto::{Refusal, RefusalCode, TagId};
use std::collections::{BTreeSet, HashMap};

/// Questions that wait for the machine.
const ASKS_MAX: usize = 16;

impl DriverState {
    /// The points of tags, in their order. Looks at each tag of the driver once, however many are asked for.
    fn points_of<'a>(
        &self,
        asked: impl IntoIterator<Item = &'a TagId>,
    ) -> Vec<Result<PointId, Refusal>> {
        let names = (0_u32..).zip(&self.tags);
        let known: HashMap<&TagId, PointId> =
            names.map(|(index, tag)| (&tag.name, PointId(index))).collect();
        let point = |tag| {
            let found = known.get(tag).copied();
            found.ok_or_else(|| Refusal::not_found("tag", tag).at("tag"))
        };
        asked.into_iter().map(point).collect()
    }

    /// The points of tags that have a value.
    pub(crate) fn values_of(&self, asked: &[TagId]) -> Result<Vec<PointId>, Refusal> {
        let value = |point: PointId| {
            let tag = &self.tags[point.index()];
            match tag.kind {
                TagKind::Value | TagKind::Virtual => Ok(point),
                kind @ (TagKind::Method | TagKind::Events) => {
                    let message =
                        format!("{} has no value, it is of kind {}", tag.name, kind.name());
                    Err(Refusal::new(RefusalCode::Invalid, message).at("tag"))
                }
            }
        };
        self.points_of(asked).into_iter().map(|point| point.and_then(value)).collect()
    }

    /// The points of tags that the machine has the value of.
    pub(crate) fn targets_of<'a>(
        &self,
        asked: impl IntoIterator<Item = &'a TagId>,
    ) -> Vec<Result<PointId, Refusal>> {
        let target = |point: PointId| {
            let tag = &self.tags[point.index()];
            if tag.is_value() {
                return Ok(point);
            }
            let (name, kind) = (&tag.name, tag.kind.name());
            let message = format!("{name} cannot be written, it is of kind {kind}");
            Err(Refusal::new(RefusalCode::Invalid, message).at("tag"))
        };
        self.points_of(asked).into_iter().map(|point| point.and_then(target)).collect()
    }

    /// Takes in a write, or refuses it at once. It is never kept for a later connection.
    pub(crate) fn ask_write(&mut self, write: Write) -> Result<(), Refusal> {
        self.must_be_connected()?;
        if self.writes.len() >= self.writes_max {
            return Err(too_many("writes", self.writes.len()));
        }
        self.push_write(write);
        Ok(())
    }

    /// Whether so many writes at once can be taken in.
    pub(crate) fn has_room_for(&self, writes: usize) -> Result<(), Refusal> {
        self.must_be_connected()?;
        match self.writes.len() >= self.writes_max.max(writes) {
            true => Err(too_many("writes", self.writes.len())),
            false => Ok(()),
        }
    }

    /// Takes in a write for which there is room.
    pub(crate) fn push_write(&mut self, write: Write) {
        self.writes.push_back(write);
    }

    /// The same, for a machine that takes so many writes in one request.
    pub(crate) fn writing(mut self, at_once: usize) -> Self {
        self.writes_at_once = at_once.max(1);
        self
    }

    /// The writes to be done next, each of another point: a machine need not do those of one request in their order.
    pub(super) fn next_writes(&mut self) -> Vec<PointWrite> {
        let mut next: Vec<PointWrite> = Vec::new();
        let mut points = BTreeSet::new();
        while next.len() < self.writes_at_once
            && let Some(Write { what, ticket }) =
                self.writes.pop_front_if(|write| points.insert(write.what.point))
        {
            self.serving.push(ticket);
            self.writing.push(what.point);
            next.push(what);
        }
        next
    }

    /// Takes in a question, or refuses it at once.
    pub(crate) fn ask(&mut self, ticket: u64, query: Query) -> Result<(), Refusal> {
        self.must_be_connected()?;
        if self.asks.len() >= ASKS_MAX {
            return Err(too_many("questions", self.asks.len()));
        }
        self.asks.push_back((ticket, query));
        Ok(())
    }

    /// Or connecting for the first time: that ends soon, one way or the other.
    fn must_be_connected(&self) -> Result<(), Refusal> {
        let Some(reason) = self.reason.as_deref().filter(|_| !self.is_connected()) else {
            return Ok(());
        };
        let message = format!("the machine is not connected: {reason}");
        Err(Refusal::new(RefusalCode::Unavailable, message))
    }
}

fn too_many(what: &str, count: usize) -> Refusal {
    let message = format!("{count} {what} are waiting for the machine");
    Refusal::new(RefusalCode::TooManyRequests, message)
}
