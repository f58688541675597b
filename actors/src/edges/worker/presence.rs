//! Which edge nodes are there: those that have a connection and have spoken on it.
//!
//! An edge node subscribes before it speaks. What is asked of it between its CONNECT and its SUBSCRIBE would be lost,
//! so it is not there before its first word.

use super::Worker;
use crate::edges::row::{EdgeKey, EdgeRow};
use bytes::Bytes;
use proto::{EdgeId, Identity};
use serde::Deserialize;

/// The parts of an event of a connection that matter here.
#[derive(Deserialize)]
struct Coming {
    identity: Identity,
    connection: u64,
}

impl Worker {
    /// A client has come or gone, which may be an edge node.
    pub(super) fn came_or_went(&mut self, has_come: bool, payload: &Bytes) {
        let Ok(Coming { identity, connection }) = serde_json::from_slice(payload) else { return };
        let Identity::Edge(edge) = identity else { return };
        let node = self.nodes.entry(edge.clone()).or_default();
        if has_come {
            node.connection = Some(connection);
        } else if node.connection == Some(connection) {
            node.connection = None;
        } else {
            // An earlier one of an edge node that is back already.
            return;
        }
        // What was asked over an earlier connection is not answered any more.
        node.has_spoken = false;
        self.settle_presence(&edge);
    }

    /// An edge node has said something that it says on each connection.
    pub(super) fn has_spoken(&mut self, edge: &EdgeId) {
        let node = self.nodes.entry(edge.clone()).or_default();
        node.has_spoken = true;
        self.settle_presence(edge);
    }

    /// Tells whether an edge node is there, if that is news.
    fn settle_presence(&mut self, edge: &EdgeId) {
        let now = self.context.now();
        let Some(node) = self.nodes.get_mut(edge) else { return };
        let online = node.connection.is_some() && node.has_spoken;
        if node.status.online == online {
            return;
        }
        node.status.online = online;
        node.status.t = now;
        let status = node.status.message(edge);
        let event = if online {
            self.context.counters.edges_online.increase();
            "online"
        } else {
            self.context.counters.edges_online.decrease();
            self.context.hotline.hang_up(self.client.namespace(), edge);
            "offline"
        };
        if self.is_registered(edge) {
            self.client.publish(status);
        } else {
            // Deleted while it was here: nothing more is said of it.
            self.nodes.remove(edge);
        }
        self.tell(edge, serde_json::json!({ "event": event, "t": now }));
        if online {
            self.edge_has_come(edge);
            self.begin_errands(edge);
        }
    }

    /// One that cannot be read counts as registered.
    fn is_registered(&self, edge: &EdgeId) -> bool {
        let key: EdgeKey = (self.client.namespace().clone(), edge.clone());
        let row = self.context.outside.store.read().and_then(|it| it.get::<EdgeRow>(&key));
        !matches!(row, Ok(None))
    }
}
