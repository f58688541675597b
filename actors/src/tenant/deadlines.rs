//! How a tenant keeps the promises of commands while their devices sleep: alarms at deadlines, and the members of
//! broadcasts that have yet to be told.

use super::actor::{TenantCore, TenantMsg};
use super::settle;
use crate::context::Context;
use crate::device::command::broadcast::{BroadcastRow, MemberKey, MemberRow};
use crate::device::command::document::Invocation;
use crate::device::command::row::{CommandKey, Open};
use crate::device::{DeviceMsg, Order};
use crate::edges::things::rows::SaidRow;
use broker::Client;
use proto::{CommandId, Refusal, ThingId, TimestampMs};
use ractor::ActorRef;
use std::collections::HashMap;
use std::time::Duration;
use store::{Changes, ReadError};

/// Rows read at once.
const PAGE: usize = 1000;

/// The first deadline of each thing that has open commands.
type Deadlines = HashMap<ThingId, TimestampMs>;

impl TenantCore {
    /// Sets the alarms of all open commands, and goes on with broadcasts that a crash has cut short. Those who are
    /// connected already may hear what waits for them.
    pub(super) fn begin_commands(&mut self, myself: &ActorRef<TenantMsg>) -> Result<(), ReadError> {
        let live = settle::connections(&self.context, &self.client);
        let now = self.context.now();
        for (thing, deadline) in open_deadlines(&self.context, &self.client)? {
            let at = if live.contains_key(&thing) { now } else { deadline };
            self.alarms.set(thing, at);
        }
        self.set_timer(myself);
        let prefix = store::prefix(self.client.namespace());
        for found in self.context.outside.store.read()?.scan::<BroadcastRow>(&prefix)? {
            match found {
                Ok((_, row)) if row.is_over => {}
                Ok(((_, id), _)) => drop(myself.cast(TenantMsg::Broadcast(id))),
                Err(error) => tracing::error!(%error, "a broadcast cannot be read"),
            }
        }
        Ok(())
    }

    /// A device is to be woken at a time.
    pub(super) fn wake_at(
        &mut self,
        myself: &ActorRef<TenantMsg>,
        thing: ThingId,
        at: TimestampMs,
    ) {
        self.alarms.set(thing, at);
        self.set_timer(myself);
    }

    /// The timer of the alarms is over.
    pub(super) async fn alarms_ring(&mut self, myself: &ActorRef<TenantMsg>) {
        for thing in self.alarms.ring(self.context.now()) {
            if self.directory.is_awake(&thing) || self.has_work(&thing) {
                self.send(myself, thing, DeviceMsg::CommandsDue).await;
            }
        }
        self.set_timer(myself);
    }

    /// Whether a thing has commands that have yet to end. One whose rows cannot be read is worth waking: it fails.
    pub(super) fn has_work(&self, thing: &ThingId) -> bool {
        let prefix = store::prefix(&(self.client.namespace().clone(), thing.clone()));
        let found = self.context.outside.store.read().and_then(|snapshot| {
            let has_open = snapshot.first::<Open>(&prefix)?.is_some();
            Ok(has_open || snapshot.first::<SaidRow>(&prefix)?.is_some())
        });
        !matches!(found, Ok(false))
    }

    /// Tells every member of a broadcast that has not been told, or has to be told that it was taken back.
    pub(super) async fn broadcast(&mut self, myself: &ActorRef<TenantMsg>, id: CommandId) {
        let pending = match pending(&self.context, &self.client, &id) {
            Ok(Some(pending)) => pending,
            Ok(None) => return,
            Err(error) => return tracing::error!(%error, "a broadcast cannot be read"),
        };
        let (row, things) = pending;
        if things.is_empty() && row.deadline < self.context.now() {
            // So that the next start need not look at its members.
            let key = (self.client.namespace().clone(), id);
            let mut changes = Changes::new();
            changes.put::<BroadcastRow>(&key, &BroadcastRow { is_over: true, ..row });
            return self.keep_apart(changes);
        }
        for thing in things {
            let order = match row.is_cancelled {
                true => Order::Cancel { id: id.clone(), is_broadcast: true },
                false => invocation(&row, id.clone()),
            };
            let order = Box::new(order);
            let message = DeviceMsg::Order { order, changes: Changes::new(), reply: None };
            self.send(myself, thing, message).await;
        }
    }

    /// The member of a broadcast whose device cannot be told ends.
    pub(super) fn end_member(&self, thing: &ThingId, id: &CommandId, refusal: &Refusal) {
        let namespace = self.client.namespace().clone();
        let found = self.context.outside.store.read();
        let found = found.and_then(|it| it.get::<BroadcastRow>(&(namespace.clone(), id.clone())));
        let Ok(Some(row)) = found else { return };
        let mut changes = Changes::new();
        let key: MemberKey = (namespace, id.clone(), thing.clone());
        changes.put::<MemberRow>(&key, &row.refused(refusal, self.context.now()));
        self.keep_apart(changes);
    }

    /// Keeps what nobody waits for. What fails is done again at the next start.
    fn keep_apart(&self, changes: Changes) {
        let client = self.client.clone();
        tokio::spawn(async move {
            if let Err(error) = client.publish_durably(changes, Vec::new()).await {
                tracing::error!(%error, "the state of a broadcast is not kept");
            }
        });
    }

    fn set_timer(&mut self, myself: &ActorRef<TenantMsg>) {
        if let Some(wait_ms) = self.alarms.timer_ms(self.context.now()) {
            myself.send_after(Duration::from_millis(wait_ms), || TenantMsg::AlarmsRing);
        }
    }
}

fn open_deadlines(context: &Context, client: &Client) -> Result<Deadlines, ReadError> {
    let snapshot = context.outside.store.read()?;
    let prefix = store::prefix(client.namespace());
    let mut deadlines = Deadlines::new();
    let mut after: Option<CommandKey> = None;
    loop {
        let page = snapshot.page::<Open>(&prefix, after.as_ref(), PAGE)?;
        let is_last = page.len() < PAGE;
        let before = after.clone();
        for found in page {
            match found {
                Ok((key, open)) => {
                    let first = deadlines.entry(key.1.clone()).or_insert(open.deadline);
                    *first = open.deadline.min(*first);
                    after = Some(key);
                }
                Err(error) => tracing::error!(%error, "a command cannot be read"),
            }
        }
        if is_last || after == before {
            return Ok(deadlines);
        }
    }
}

/// The broadcast, and its members that have not ended; those whose commands wait already only if it was taken back.
fn pending(
    context: &Context,
    client: &Client,
    id: &CommandId,
) -> Result<Option<(BroadcastRow, Vec<ThingId>)>, ReadError> {
    let namespace = client.namespace();
    let snapshot = context.outside.store.read()?;
    let key = (namespace.clone(), id.clone());
    let Some(row) = snapshot.get::<BroadcastRow>(&key)? else { return Ok(None) };
    let mut things = Vec::new();
    for found in snapshot.scan::<MemberRow>(&store::prefix(&key))? {
        let ((_, _, thing), member) = found?;
        let key: CommandKey = (namespace.clone(), thing.clone(), id.clone());
        let is_pending = member.ended.is_none();
        if is_pending && (row.is_cancelled || !snapshot.contains::<Open>(&key)?) {
            things.push(thing);
        }
    }
    Ok(Some((row, things)))
}

fn invocation(row: &BroadcastRow, id: CommandId) -> Order {
    let BroadcastRow { name, input, queue, by, deadline, .. } = row;
    let (input, queue) = (input.clone(), *queue);
    Order::Invoke {
        name: name.clone(),
        invocation: Invocation { id, input, timeout_ms: 0, queue, progress: false },
        deadline: *deadline,
        by: by.clone(),
        is_broadcast: true,
    }
}
