//! Things at edge nodes, seen from both ends: at the hub, what the edge node says is taken in, and what it has yet to
//! get is told of; at the edge node, what becomes of a thing of the hub's is said upwards, in the commit that does it.

use super::actor::{DeviceCore, status_message};
use super::batch::put_row;
use super::command::row::{Ended, Final};
use super::commands::{Effects, Waiting};
use super::presence::Status;
use super::row::{DeviceRow, ShadowKey, ThingRow};
use super::shadow::answer::Origin;
use super::shadow::both_ends::merged;
use super::shadow::history::ShadowChange;
use super::shadow::{Place, ShadowState};
use crate::edges::hotline::is_online;
use crate::edges::things::documents::{ResultThere, ShadowThere};
use crate::edges::things::rows::{BaseRow, OfferRow, Said, SaidKey, SaidRow};
use crate::edges::things::said;
use broker::Outgoing;
use proto::platform::{EdgeTopic, ShadowTopic, ShadowVerb, Stage, ThingNews, ThingRoot};
use proto::{
    ClientId, CommandId, EdgeId, Identity, PlatformTopic, Qos, Refusal, ShadowName, ThingId,
};
use serde::Serialize;
use std::sync::Arc;
use store::{Changes, ReadError};

impl DeviceCore {
    /// The edge node that the thing is at, if it is at one.
    pub(super) fn edge(&self) -> Option<&EdgeId> {
        self.registration.as_ref().and_then(|row| row.edge.as_ref())
    }

    /// Whether the edge node that it is at is connected.
    pub(super) fn is_edge_online(&self) -> bool {
        self.edge().is_some_and(|edge| is_online(&self.client, edge))
    }

    /// Takes in what the edge node has said, if there is anything.
    pub(super) fn edge_said(&mut self) -> Result<(), ReadError> {
        let edge = self.edge().cloned();
        let snapshot = self.context.outside.store.read()?;
        let rows = snapshot.scan::<SaidRow>(&store::prefix(&self.key()))?;
        drop(snapshot);
        let mut effects = Effects::default();
        for found in rows {
            let (key, row): (SaidKey, SaidRow) = found?;
            if edge.as_ref() == Some(&row.edge) {
                self.take_in(&row, &mut effects)?;
            }
            said::forget(&mut effects.changes, key, row);
        }
        self.add_effects(effects, Waiting::Nobody);
        Ok(())
    }

    fn take_in(&mut self, row: &SaidRow, effects: &mut Effects) -> Result<(), ReadError> {
        match &row.said {
            Said::Shadow(there) => self.shadow_said((&row.edge, row.life), there, effects),
            Said::ShadowRefused { name, place } => {
                let key = self.shadow_key_of(name);
                let base = self.base(&key)?.of_life(row.life);
                let base = BaseRow { life: row.life, refused: Some(*place), ..base };
                effects.changes.put::<BaseRow>(&key, &base);
                effects.changes.delete::<OfferRow>(&key);
                Ok(())
            }
            Said::Result(result) => {
                let ResultThere { id, status, output, error, .. } = (**result).clone();
                self.ended_there(&id, (status, output, error), effects)
            }
            Said::Command { id, refusal: None } => self.taken_there(id, effects),
            Said::Command { id, refusal: Some(refusal) } => {
                let error = super::command::book::to_json(refusal);
                self.ended_there(id, (Final::Rejected, None, Some(error)), effects)
            }
            Said::Status(status) => {
                self.status_there(status, effects);
                Ok(())
            }
        }
    }

    fn shadow_said(
        &mut self,
        (edge, life): (&EdgeId, u64),
        there: &ShadowThere,
        effects: &mut Effects,
    ) -> Result<(), ReadError> {
        let key = self.shadow_key_of(&there.name);
        let base = self.base(&key)?;
        let is_of_this_life = (base.life, base.since) == (life, there.since);
        let known = ShadowThere::of("", base.since, &base.shadow).at();
        let (since, shadow) = (there.since, there.clone().into_state());
        let offer = self.context.outside.store.read()?.get::<OfferRow>(&key)?;
        let offer = offer.filter(|offer| offer.life == life);
        let settled = offer.as_ref().and_then(|offer| offer.is_settled_by(&shadow));
        if settled.is_some() {
            effects.changes.delete::<OfferRow>(&key);
            self.owes_edge = true;
        }
        if is_of_this_life && there.at() <= known {
            return Ok(());
        }
        let base = match (settled, offer) {
            (Some(true), Some(offer)) => offer.shadow,
            _ if is_of_this_life => base.shadow,
            _ => ShadowState::default(),
        };
        let hub = Arc::clone(self.shadows.get(&self.context, &key)?);
        let together = merged(&base, &hub, &shadow);
        if !together.has_same_state(&hub) {
            let now = self.context.now();
            let by = Identity::Edge(edge.clone()).to_string();
            let change = edge_client(edge).map(|client_id| ShadowChange {
                version: 0,
                t: now,
                by,
                client_id,
                desired: Some(together.desired.state.clone().into()),
                reported: Some(together.reported.state.clone().into()),
                deleted: !together.exists,
            });
            self.become_shadow(key.clone(), (hub, together), change, effects);
            self.context.counters.edge_shadows_merged.increase();
        }
        let hub = self.shadows.get(&self.context, &key)?;
        self.owes_edge |= !hub.has_same_state(&shadow);
        effects.changes.put::<BaseRow>(&key, &BaseRow { life, since, shadow, refused: None });
        Ok(())
    }

    /// A shadow becomes another one at the word of the other end.
    pub(super) fn become_shadow(
        &mut self,
        key: ShadowKey,
        (before, after): (Arc<ShadowState>, ShadowState),
        change: Option<ShadowChange>,
        effects: &mut Effects,
    ) {
        let verb = match after.exists {
            true => ShadowVerb::Update(Stage::Request),
            false => ShadowVerb::Delete(Stage::Request),
        };
        let decision = before.decide_becoming(after, self.context.now().as_secs());
        let shadow = ShadowName::parse(&key.2).ok();
        let topic = ShadowTopic { shadow, verb };
        let origin =
            Origin { root: ThingRoot::Things, thing: self.thing.clone(), topic, reply_to: None };
        effects.says.extend(origin.messages(&decision));
        if let Some(next) = decision.next {
            let after = Arc::new(next);
            let said = self.keep_shadow(key, &after, change, &mut effects.changes);
            effects.says.extend(said);
            if decision.is_update {
                let timestamp = decision.accepted.timestamp;
                effects.says.push(origin.transition((before, after), timestamp, None).message());
            }
        }
    }

    fn ended_there(
        &mut self,
        id: &CommandId,
        end: (Final, Option<serde_json::Value>, Option<serde_json::Value>),
        effects: &mut Effects,
    ) -> Result<(), ReadError> {
        let (now, limits) = (self.context.now(), self.command_limits());
        let mut book = self.take_book(now, effects)?;
        let ends = book.end_elsewhere(id, end, now, &limits);
        self.carry(&mut book, ends, effects);
        self.commands.book = Some(book);
        Ok(())
    }

    fn taken_there(&mut self, id: &CommandId, effects: &mut Effects) -> Result<(), ReadError> {
        let now = self.context.now();
        let mut book = self.take_book(now, effects)?;
        let taken = book.taken_elsewhere(id, now);
        self.carry(&mut book, taken, effects);
        self.commands.book = Some(book);
        Ok(())
    }

    fn status_there(&mut self, status: &Status, effects: &mut Effects) {
        if self.state.row.there.as_ref().is_some_and(|known| known.t > status.t) {
            return;
        }
        let row = DeviceRow { there: Some(status.clone()), ..self.state.row.clone() };
        effects.changes.append(put_row(self, &row));
        effects.says.push(status_message(&self.thing, status));
        self.state.row = row;
    }

    /// What its edge node has said of its connections is over: it is at another one, or at none. What is to be said.
    pub(super) fn forget_there(&mut self, changes: &mut Changes) -> Option<Outgoing> {
        let there = self.state.row.there.take()?;
        changes.append(put_row(self, &self.state.row));
        let (online, t) = (false, self.context.now());
        let status = Status { online, t, reason: "moved".to_owned() };
        there.online.then(|| status_message(&self.thing, &status))
    }

    fn base(&self, key: &ShadowKey) -> Result<BaseRow, ReadError> {
        let base = self.context.outside.store.read()?.get::<BaseRow>(key)?;
        Ok(base.unwrap_or_else(BaseRow::none))
    }

    pub(super) fn shadow_key_of(&self, name: &str) -> ShadowKey {
        (self.client.namespace().clone(), self.thing.clone(), name.to_owned())
    }

    /// Has the edge node be given what it has yet to get, once that is kept.
    pub(super) fn tell_what_is_owed(&mut self) {
        if std::mem::take(&mut self.owes_edge)
            && let Some(edge) = self.edge().cloned()
        {
            let namespace = self.client.namespace();
            self.context.due_things.add(namespace, edge, self.thing.clone());
        }
    }

    /// What is said to the hub of a shadow, if the thing is the hub's.
    pub(super) fn shadow_news(&self, name: &str, state: &ShadowState) -> Option<Outgoing> {
        let since = self.registration.as_ref().filter(|row| row.is_hubs)?.created;
        self.news(ThingNews::Shadow, &ShadowThere::of(name, since, state))
    }

    /// What is said to the hub of a command that has ended.
    pub(super) fn result_news(&self, id: &CommandId, ended: &Ended) -> Option<Outgoing> {
        self.news(ThingNews::Result, &ResultThere::of(id, ended))
    }

    /// What is said to the hub of the device's connections.
    pub(super) fn status_news(&self, status: &Status) -> Option<Outgoing> {
        self.news(ThingNews::Status, status)
    }

    /// All that a hub has to know of a thing that it gives, or gives again.
    pub(super) fn all_news(&self, row: &ThingRow) -> Result<Vec<Outgoing>, ReadError> {
        let edge = &self.context.settings.edge;
        let status = self.state.row.presence.status.as_ref();
        let status = status.map(|it| news_message(edge, &self.thing, ThingNews::Status, it));
        let mut all: Vec<Outgoing> = status.into_iter().collect();
        let snapshot = self.context.outside.store.read()?;
        for found in snapshot.scan::<ShadowState>(&store::prefix(&self.key()))? {
            let ((_, _, name), state) = found?;
            let there = ShadowThere::of(&name, row.created, &state);
            all.push(news_message(edge, &self.thing, ThingNews::Shadow, &there));
        }
        Ok(all)
    }

    fn news(&self, news: ThingNews, document: &impl Serialize) -> Option<Outgoing> {
        self.registration.as_ref().filter(|row| row.is_hubs)?;
        Some(news_message(&self.context.settings.edge, &self.thing, news, document))
    }
}

/// What an edge node says to its hub of a thing.
fn news_message(
    edge: &EdgeId,
    thing: &ThingId,
    news: ThingNews,
    document: &impl Serialize,
) -> Outgoing {
    let topic = EdgeTopic::Thing(thing.clone(), news);
    let topic = PlatformTopic::Edge { edge: edge.clone(), topic }.topic();
    Outgoing::new(topic, proto::shadow::to_json(document)).qos(Qos::AtLeastOnce)
}

/// The client that changes of an edge node come from, in the history of a shadow.
fn edge_client(edge: &EdgeId) -> Option<ClientId> {
    ClientId::parse(&format!("$platform/edge/{edge}")).ok()
}

/// What the other end wants a shadow to be, in place of the one that it knows.
#[derive(Debug, Clone)]
pub(crate) struct Becoming {
    /// Empty for the classic one.
    pub(crate) name: String,
    /// What it replaces.
    pub(crate) over: Place,
    pub(crate) shadow: ShadowState,
}

impl DeviceCore {
    /// Makes a shadow what the other end wants, unless it is another one by now.
    pub(super) fn become_as_wanted(
        &mut self,
        becoming: &Becoming,
        by: &str,
        effects: &mut Effects,
    ) -> Result<Result<(), Refusal>, ReadError> {
        let key = self.shadow_key_of(&becoming.name);
        let state = Arc::clone(self.shadows.get(&self.context, &key)?);
        if state.place() != becoming.over {
            let message = format!("the shadow has version {} by now", state.version);
            return Ok(Err(Refusal::new(proto::RefusalCode::VersionConflict, message).at("over")));
        }
        let after = becoming.shadow.clone();
        let client_id = ClientId::parse("$platform/hub").ok();
        let change = client_id.map(|client_id| ShadowChange {
            version: 0,
            t: self.context.now(),
            by: by.to_owned(),
            client_id,
            desired: Some(after.desired.state.clone().into()),
            reported: Some(after.reported.state.clone().into()),
            deleted: !after.exists,
        });
        self.become_shadow(key, (state, after), change, effects);
        Ok(Ok(()))
    }

    /// Forgets what was decided and could not be kept.
    pub(super) fn forget_elsewhere(&mut self) {
        self.owes_edge = false;
    }

    /// Keeps a shadow; what is said of it to the hub.
    pub(super) fn keep_shadow(
        &mut self,
        key: ShadowKey,
        next: &Arc<ShadowState>,
        change: Option<ShadowChange>,
        changes: &mut Changes,
    ) -> Option<Outgoing> {
        changes.put::<ShadowState>(&key, next);
        if let Some(change) = change {
            let max = self.context.settings.shadow_changes_max;
            change.keep((&key, next.version), max, changes);
        }
        let news = self.shadow_news(&key.2, next);
        self.shadows.put(key.2, Arc::clone(next));
        news
    }
}
