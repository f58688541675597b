//! When rounds of the desired configuration begin, and what is said of them.

use super::Worker;
use crate::edges::desired::{Round, Settled, Survey, survey};
use crate::edges::row::{EdgeKey, EdgeRow};
use futures_util::FutureExt;
use proto::{EdgeId, Refusal};
use std::time::Duration;
use tokio::time::Instant;

/// After a round that could not be carried out to its end.
const PAUSE: Duration = Duration::from_secs(5);

/// How the configuration of one edge node stands.
#[derive(Default)]
pub(super) struct Configuring {
    /// Something may have changed at either end.
    is_due: bool,
    is_under_way: bool,
    /// Not before that.
    not_before: Option<Instant>,
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
    /// Drivers or tags have changed here, or it is the first look.
    pub(super) fn reconfigured(&mut self) {
        let rows =
            self.context.outside.store.read().and_then(|snapshot| {
                snapshot.scan::<EdgeRow>(&store::prefix(self.client.namespace()))
            });
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => return tracing::error!(%error, "edge nodes cannot be read"),
        };
        for row in rows {
            match row {
                Ok(((_, edge), _)) => {
                    self.survey(&edge);
                    self.is_due(&edge);
                }
                Err(error) => tracing::error!(%error, "an edge node cannot be read"),
            }
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
        if let Some(node) = self.nodes.get_mut(edge) {
            node.configuring.not_before = None;
        }
        self.is_due(edge);
    }

    fn is_due(&mut self, edge: &EdgeId) {
        self.nodes.entry(edge.clone()).or_default().configuring.is_due = true;
        self.begin_rounds(Some(edge));
    }

    /// When the next round that had to wait may begin.
    pub(super) fn next_round_at(&self) -> Option<Instant> {
        let waits =
            self.nodes.values().filter(|node| node.status.online && node.configuring.is_due);
        waits.filter_map(|node| node.configuring.not_before).min()
    }

    /// Begins the rounds that are due, of all edge nodes or of one.
    pub(super) fn begin_rounds(&mut self, only: Option<&EdgeId>) {
        let now = Instant::now();
        for (edge, node) in &mut self.nodes {
            let it = &mut node.configuring;
            let may = it.not_before.is_none_or(|at| at <= now);
            if only.is_some_and(|only| only != edge)
                || !node.status.online
                || !it.is_due
                || it.is_under_way
                || !may
            {
                continue;
            }
            (it.is_due, it.is_under_way, it.not_before) = (false, true, None);
            let round = Round {
                context: self.context.clone(),
                client: self.client.clone(),
                edge: edge.clone(),
            };
            let ended = async move {
                let outcome = round.run().await;
                Ended { edge: round.edge, outcome }
            };
            self.rounds.push(ended.boxed());
        }
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
                it.is_due = true;
                it.not_before = Some(Instant::now() + PAUSE);
            }
        }
        self.survey(&edge);
        self.begin_rounds(Some(&edge));
    }

    /// Says how far an edge node is, if that is news.
    fn survey(&mut self, edge: &EdgeId) {
        let namespace = self.client.namespace().clone();
        let key: EdgeKey = (namespace.clone(), edge.clone());
        let now = self.context.now();
        let found = self.context.outside.store.read().and_then(|snapshot| {
            let is_registered = snapshot.get::<EdgeRow>(&key)?.is_some();
            Ok(is_registered.then_some(survey(&snapshot, &namespace, edge, now)?))
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
