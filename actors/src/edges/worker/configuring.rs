//! When rounds of the desired configuration begin, and what is said of them.

use super::Worker;
use crate::edges::desired::{Round, Settled, Survey, survey, wanted};
use crate::edges::row::{EdgeKey, EdgeRow};
use futures_util::FutureExt;
use proto::{DriverId, EdgeId, Refusal};
use std::collections::BTreeSet;
use std::time::Duration;

/// After a round that could not be carried out to its end.
const PAUSE: Duration = Duration::from_secs(5);

/// Rounds at a time in a namespace; the other edge nodes wait for their turns.
const ROUNDS_MAX: usize = 32;

/// How the configuration of one edge node stands.
#[derive(Default)]
pub(super) struct Configuring {
    /// Something may have changed at either end.
    is_due: bool,
    is_under_way: bool,
    /// The last round was not carried out to its end.
    rests: bool,
    /// How often its drivers have changed there, as of the last round.
    edits: Option<u64>,
    told: Option<Survey>,
}

/// A round that has ended.
pub(super) struct Ended {
    edge: EdgeId,
    outcome: Result<Settled, Refusal>,
}

impl Worker {
    /// Says of each edge node how far it is.
    pub(super) fn first_look(&mut self) {
        self.reconfigured();
        let nodes: Vec<EdgeId> = self.nodes.keys().cloned().collect();
        nodes.iter().for_each(|edge| self.survey(edge));
    }

    /// Drivers or tags have changed here: those edge nodes of which something else is wanted now are due.
    pub(super) fn reconfigured(&mut self) {
        let (namespace, own) = (self.client.namespace(), &self.context.settings.edge);
        let read = self.context.outside.store.read();
        let wanted = match read.and_then(|snapshot| wanted(&snapshot, namespace, own)) {
            Ok(wanted) => wanted,
            Err(error) => return tracing::error!(%error, "drivers cannot be read"),
        };
        let before = std::mem::replace(&mut self.wanted, wanted);
        let edges: BTreeSet<&EdgeId> = before.keys().chain(self.wanted.keys()).collect();
        let changed = edges.into_iter().filter(|edge| before.get(edge) != self.wanted.get(edge));
        for edge in changed.cloned().collect::<Vec<EdgeId>>() {
            self.survey(&edge);
            self.is_due(&edge);
        }
    }

    /// An edge node says how often its drivers have changed.
    pub(super) fn edge_says(&mut self, edge: &EdgeId, edits: u64) {
        let Some(node) = self.nodes.get(edge) else { return };
        if node.configuring.edits.is_some_and(|known| known != edits) {
            self.is_due(edge);
        }
    }

    /// It has come: whatever it is, it may be another one than before.
    pub(super) fn edge_has_come(&mut self, edge: &EdgeId) {
        self.pause_over(edge);
        self.is_due(edge);
    }

    /// It is tried again.
    pub(super) fn pause_over(&mut self, edge: &EdgeId) {
        if let Some(node) = self.nodes.get_mut(edge) {
            node.configuring.rests = false;
        }
        self.begin_round(edge);
    }

    fn is_due(&mut self, edge: &EdgeId) {
        if let Some(node) = self.nodes.get_mut(edge) {
            node.configuring.is_due = true;
        }
        self.begin_round(edge);
    }

    /// Begins the round of an edge node, if it is due and there is room.
    fn begin_round(&mut self, edge: &EdgeId) {
        let Some(node) = self.nodes.get_mut(edge) else { return };
        let it = &mut node.configuring;
        if !node.status.online || !it.is_due || it.is_under_way || it.rests {
            return;
        }
        if self.rounds.len() >= ROUNDS_MAX {
            self.queued.insert(edge.clone());
            return;
        }
        (it.is_due, it.is_under_way) = (false, true);
        let round = Round {
            context: self.context.clone(),
            client: self.client.clone(),
            edge: edge.clone(),
            wanted: self.names(edge),
        };
        let ended = async move {
            let outcome = round.run().await;
            Ended { edge: round.edge, outcome }
        };
        self.rounds.push(ended.boxed());
    }

    fn names(&self, edge: &EdgeId) -> Vec<DriverId> {
        let wanted = self.wanted.get(edge).into_iter();
        wanted.flat_map(|drivers| drivers.keys().cloned()).collect()
    }

    /// A round has ended. One that has changed something is followed by another, which finds nothing to do.
    pub(super) fn round_ended(&mut self, ended: Ended) {
        let Ended { edge, outcome } = ended;
        let Some(node) = self.nodes.get_mut(&edge) else { return };
        let it = &mut node.configuring;
        it.is_under_way = false;
        match outcome {
            Ok(settled) => {
                it.edits = Some(settled.edits);
                it.is_due |= settled.has_changed;
            }
            Err(refusal) => {
                // What it is now is said with the next connection, or after the pause.
                tracing::debug!(%edge, %refusal, "the configuration could not be compared");
                (it.is_due, it.rests) = (true, true);
                let rested = edge.clone();
                let pause = tokio::time::sleep(PAUSE).map(move |()| rested);
                self.pauses.push(pause.boxed());
            }
        }
        self.survey(&edge);
        self.begin_round(&edge);
        // One that is gone meanwhile leaves its turn to the next.
        while self.rounds.len() < ROUNDS_MAX
            && let Some(next) = self.queued.pop_first()
        {
            self.begin_round(&next);
        }
    }

    /// Says how far an edge node is, if that is news.
    fn survey(&mut self, edge: &EdgeId) {
        let namespace = self.client.namespace().clone();
        let key: EdgeKey = (namespace.clone(), edge.clone());
        let now = self.context.now();
        let found = self.context.outside.store.read().and_then(|snapshot| {
            let is_registered = snapshot.get::<EdgeRow>(&key)?.is_some();
            let survey = survey(&snapshot, (&namespace, edge), self.names(edge), now)?;
            Ok(is_registered.then_some(survey))
        });
        let found = match found {
            Ok(Some(found)) => found,
            Ok(None) => {
                // If it is registered again, all of it is news.
                if let Some(node) = self.nodes.get_mut(edge) {
                    node.configuring.told = None;
                }
                return;
            }
            Err(error) => {
                return tracing::error!(%error, %edge, "its configuration cannot be read");
            }
        };
        let told = &mut self.nodes.entry(edge.clone()).or_default().configuring.told;
        if told.as_ref().is_none_or(|told| !told.says_as(&found)) {
            self.client.publish(found.message(edge));
            *told = Some(found);
        }
    }
}
