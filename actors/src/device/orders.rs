//! What operators want of the commands of a thing, and a hub of its shadows; and how a device actor carries it out.

use super::actor::DeviceCore;
use super::command::book::Asker;
use super::command::broadcast::{BroadcastRow, MemberRow};
use super::command::document::Invocation;
use super::command::row::{Ended, Final};
use super::commands::{Effects, Waiting};
use super::elsewhere::Becoming;
use proto::{CommandId, CommandName, Refusal, TimestampMs};
use ractor::RpcReplyPort;
use store::{Changes, ReadError};

/// What an operator, or a hub, wants of a thing.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    /// A command, by its deadline.
    Invoke {
        /// What it is called.
        name: CommandName,
        /// Its id, input and terms; the time it may take is that until the deadline.
        invocation: Invocation,
        /// When it ends at the latest.
        deadline: TimestampMs,
        /// Who asks.
        by: String,
        /// Whether it is one of a broadcast.
        is_broadcast: bool,
    },
    /// A shadow, as the other end of an uplink has it.
    Become {
        /// Which, and what.
        becoming: Box<Becoming>,
        /// Who asks.
        by: String,
    },
    /// An end to one.
    Cancel {
        /// Which.
        id: CommandId,
        /// Whether its broadcast was taken back.
        is_broadcast: bool,
    },
}

impl Order {
    /// The broadcast that it is part of.
    pub(crate) fn broadcast(&self) -> Option<&CommandId> {
        match self {
            Self::Invoke { invocation, is_broadcast: true, .. } => Some(&invocation.id),
            Self::Cancel { id, is_broadcast: true } => Some(id),
            _ => None,
        }
    }
}

impl DeviceCore {
    /// An operator wants something; `changes` are kept with it.
    pub(super) fn order(
        &mut self,
        order: Order,
        changes: Changes,
        reply: Option<RpcReplyPort<Result<(), Refusal>>>,
    ) -> Result<(), ReadError> {
        let mut effects = Effects::default();
        let outcome = match self.is_registered() {
            false => Err(Refusal::not_found("thing", &self.thing)),
            true => self.carry_out(&order, &mut effects)?,
        };
        match (&outcome, order.broadcast()) {
            (Ok(()), _) => effects.changes.append(changes),
            (Err(refusal), Some(id)) => self.refuse_member(id, refusal, &mut effects)?,
            (Err(_), None) => {}
        }
        let waiting = reply.map_or(Waiting::Nobody, |reply| Waiting::Admin(reply, outcome));
        self.add_effects(effects, waiting);
        Ok(())
    }

    fn carry_out(
        &mut self,
        order: &Order,
        effects: &mut Effects,
    ) -> Result<Result<(), Refusal>, ReadError> {
        let now = self.context.now();
        match order {
            Order::Invoke { name, invocation, deadline, by, is_broadcast } => {
                let mut invocation = invocation.clone();
                invocation.timeout_ms = deadline.0.saturating_sub(now.0);
                let id = invocation.id.clone();
                let asker = Asker { by: by.clone(), reply: None, is_broadcast: *is_broadcast };
                let outcome = self.decide_invoke((name, invocation), asker, effects)?;
                Ok(outcome.and_then(|()| self.must_be_taken(&id, *is_broadcast)))
            }
            Order::Become { becoming, by } => self.become_as_wanted(becoming, by, effects),
            Order::Cancel { id, .. } => {
                let mut book = self.take_book(now, effects)?;
                let decided = book.cancel(id, now, &self.command_limits());
                let outcome = decided.map(|changes| self.carry(&mut book, changes, effects));
                self.commands.book = Some(book);
                Ok(outcome)
            }
        }
    }

    /// Refuses what the book has as rejected, and a broadcast whose id is that of a command of another kind.
    fn must_be_taken(&self, id: &CommandId, is_broadcast: bool) -> Result<(), Refusal> {
        let Some(book) = &self.commands.book else { return Ok(()) };
        let kind = book.open(id).map(|it| it.is_broadcast);
        let kind = kind.or(book.ended(id).map(|it| it.is_broadcast));
        if is_broadcast && kind == Some(false) {
            return Err(Refusal::already_exists("command", id).at("id"));
        }
        match book.ended(id) {
            Some(Ended { status: Final::Rejected, error: Some(error), .. }) => {
                let refusal = serde_json::from_value::<Refusal>(error.clone());
                Err(refusal.unwrap_or_else(|_| Refusal::internal("a refusal that cannot be read")))
            }
            _ => Ok(()),
        }
    }

    /// The member of a broadcast whose command did not come to be ends, unless it has.
    fn refuse_member(
        &self,
        id: &CommandId,
        refusal: &Refusal,
        effects: &mut Effects,
    ) -> Result<(), ReadError> {
        let snapshot = self.context.outside.store.read()?;
        let namespace = self.client.namespace().clone();
        let key = (namespace.clone(), id.clone(), self.thing.clone());
        let is_pending =
            snapshot.get::<MemberRow>(&key)?.is_some_and(|member| member.ended.is_none());
        let is_decided = self.commands.book.as_ref().is_some_and(|book| {
            book.ended(id).is_some_and(|it| it.is_broadcast)
                || book.open(id).is_some_and(|it| it.is_broadcast)
        });
        if is_pending
            && !is_decided
            && let Some(broadcast) = snapshot.get::<BroadcastRow>(&(namespace, id.clone()))?
        {
            let member = broadcast.refused(refusal, self.context.now());
            effects.changes.put::<MemberRow>(&key, &member);
        }
        Ok(())
    }
}
