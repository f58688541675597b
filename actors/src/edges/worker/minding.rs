//! When errands begin for things at edge nodes, and how many at a time.

use super::Worker;
use crate::edges::things::due;
use crate::edges::things::errand::Errand;
use crate::edges::things::rows::SaidRow;
use crate::tenant::TenantMsg;
use futures_util::FutureExt;
use proto::{EdgeId, Refusal, RefusalCode, ThingId};
use std::collections::BTreeSet;
use std::time::Duration;
use store::ReadError;

/// After an errand that could not be carried out to its end.
const PAUSE: Duration = Duration::from_secs(5);

/// Errands to one edge node at a time: it commits each before it answers.
const ERRANDS_MAX: usize = 8;

/// Errands in a namespace at a time; the other edge nodes wait for their turns.
const ALL_ERRANDS_MAX: usize = 64;

/// How things of one edge node stand.
#[derive(Default)]
pub(super) struct Minding {
    /// Which life of its data folder is there, as it has said.
    pub(super) life: Option<u64>,
    due: BTreeSet<ThingId>,
    under_way: BTreeSet<ThingId>,
    /// All its things are being looked at; and once more when that is over.
    looks: bool,
    looks_again: bool,
    /// An errand has failed for a reason that others would fail for as well.
    rests: bool,
}

/// What has become of an errand, or of looking for them.
pub(super) enum Minded {
    /// These are due at an edge node that has come.
    Found(EdgeId, Result<BTreeSet<ThingId>, ReadError>),
    /// They could not be read the last time.
    LookAgain(EdgeId),
    /// An errand has ended; whether the device has something to take in.
    Ended(EdgeId, ThingId, Result<bool, Refusal>),
    /// A thing, or all things of an edge node, are tried again.
    Rested(EdgeId, Option<ThingId>),
}

impl Worker {
    /// What was said before this began and is not taken in yet.
    pub(super) fn take_up_what_was_said(&mut self) -> Result<(), ReadError> {
        let snapshot = self.context.outside.store.read()?;
        let rows = snapshot.scan::<SaidRow>(&store::prefix(self.client.namespace()))?;
        let things: BTreeSet<ThingId> = rows.into_iter().flatten().map(|(key, _)| key.1).collect();
        self.has_said(things);
        Ok(())
    }

    /// Edge nodes have said something of these things, and it is kept.
    pub(super) fn has_said(&self, things: BTreeSet<ThingId>) {
        if !things.is_empty() {
            let _ = self.tenant.cast(TenantMsg::EdgeSaid(things));
        }
    }

    /// Looks for what an edge node that has come has yet to get.
    pub(super) fn look_for_errands(&mut self, edge: &EdgeId) {
        let Some(node) = self.nodes.get_mut(edge) else { return };
        let Some(life) = node.minding.life else { return };
        node.minding.rests = false;
        // However often it says hello, one look at a time is enough.
        if std::mem::replace(&mut node.minding.looks, true) {
            node.minding.looks_again = true;
            return;
        }
        let (store, namespace) =
            (self.context.outside.store.clone(), self.client.namespace().clone());
        let of = edge.clone();
        let look = move || {
            let found = store.read().and_then(|it| due::all(&it, (&namespace, &of, life)));
            Minded::Found(of, found)
        };
        let looked = tokio::task::spawn_blocking(look);
        let edge = edge.clone();
        // It ends early only with the runtime.
        let found =
            looked.map(|it| it.unwrap_or_else(|_| Minded::Found(edge, Ok(BTreeSet::new()))));
        self.minding.push(found.boxed());
    }

    /// Things have changed.
    pub(super) fn things_changed(&mut self) {
        for (edge, thing) in self.context.due_things.take(self.client.namespace()) {
            if let Some(node) = self.nodes.get_mut(&edge) {
                node.minding.due.insert(thing);
                self.begin_errands(&edge);
            }
        }
    }

    pub(super) fn minded(&mut self, minded: Minded) {
        match minded {
            Minded::Found(edge, found) => self.looked(&edge, found),
            Minded::LookAgain(edge) => self.look_for_errands(&edge),
            Minded::Ended(edge, thing, outcome) => self.errand_ended(edge, thing, outcome),
            Minded::Rested(edge, thing) => {
                if let Some(node) = self.nodes.get_mut(&edge) {
                    match thing {
                        Some(thing) => drop(node.minding.due.insert(thing)),
                        None => node.minding.rests = false,
                    }
                }
                self.begin_errands(&edge);
            }
        }
        // One that has nothing to be given any more leaves its turn to the next.
        while self.minding.len() < ALL_ERRANDS_MAX
            && let Some(edge) = self.waiting.pop_first()
        {
            self.begin_errands(&edge);
        }
    }

    fn looked(&mut self, edge: &EdgeId, found: Result<BTreeSet<ThingId>, ReadError>) {
        let Some(node) = self.nodes.get_mut(edge) else { return };
        node.minding.looks = false;
        match found {
            Ok(things) => node.minding.due.extend(things),
            Err(error) => {
                tracing::error!(%error, %edge, "things at an edge node cannot be read");
                let again = Minded::LookAgain(edge.clone());
                self.resting.push(tokio::time::sleep(PAUSE).map(move |()| again).boxed());
            }
        }
        if std::mem::take(&mut node.minding.looks_again) {
            self.look_for_errands(edge);
        }
        self.begin_errands(edge);
    }

    fn errand_ended(&mut self, edge: EdgeId, thing: ThingId, outcome: Result<bool, Refusal>) {
        let Some(node) = self.nodes.get_mut(&edge) else { return };
        node.minding.under_way.remove(&thing);
        match outcome {
            Ok(false) => {}
            Ok(true) => self.has_said(BTreeSet::from([thing])),
            Err(refusal) => {
                tracing::debug!(%edge, %thing, %refusal, "a thing could not be given");
                use RefusalCode::{TooManyRequests, VersionConflict};
                let is_of_the_thing = matches!(refusal.code, TooManyRequests | VersionConflict);
                node.minding.rests |= !is_of_the_thing;
                if !is_of_the_thing {
                    node.minding.due.insert(thing.clone());
                }
                let rested = Minded::Rested(edge.clone(), is_of_the_thing.then_some(thing));
                self.resting.push(tokio::time::sleep(PAUSE).map(move |()| rested).boxed());
            }
        }
        self.begin_errands(&edge);
    }

    /// Begins errands to an edge node, as many as there is room for.
    pub(super) fn begin_errands(&mut self, edge: &EdgeId) {
        let Some(node) = self.nodes.get_mut(edge) else { return };
        let minding = &mut node.minding;
        let Some(life) = minding.life.filter(|_| node.status.online && !minding.rests) else {
            return;
        };
        while minding.under_way.len() < ERRANDS_MAX {
            let next = minding.due.iter().find(|it| !minding.under_way.contains(*it)).cloned();
            let Some(thing) = next else { return };
            if self.minding.len() >= ALL_ERRANDS_MAX {
                self.waiting.insert(edge.clone());
                return;
            }
            minding.due.remove(&thing);
            minding.under_way.insert(thing.clone());
            let (context, client) = (self.context.clone(), self.client.clone());
            let errand = Errand { context, client, edge: edge.clone(), thing, life };
            let ended = async move {
                let outcome = errand.run().await;
                Minded::Ended(errand.edge, errand.thing, outcome)
            };
            self.minding.push(ended.boxed());
        }
    }
}
