//! The client of a bridge in its namespace. It outlives the actor, so that a restart misses nothing.

use super::row::BridgeKey;
use broker::{Client, Inbox};
use proto::{BridgeId, ClientId, Qos, TopicFilter};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// See the module.
#[derive(Clone)]
pub(crate) struct Tap {
    pub(crate) client: Client,
    /// Held by the task of the bridge, and free while there is none.
    pub(super) inbox: Arc<tokio::sync::Mutex<Inbox>>,
    /// What it is subscribed to.
    filters: Arc<Mutex<BTreeMap<TopicFilter, Qos>>>,
}

impl Tap {
    /// A client that hears nothing yet.
    pub(crate) fn new(client: Client, inbox: Inbox) -> Self {
        let inbox = Arc::new(tokio::sync::Mutex::new(inbox));
        Self { client, inbox, filters: Arc::default() }
    }

    /// The key of the rows of its bridge.
    pub(super) fn key(&self, bridge: &BridgeId) -> BridgeKey {
        (self.client.namespace().clone(), bridge.clone())
    }

    /// Has the client hear these, and nothing else.
    pub(super) fn hear(&self, wanted: impl IntoIterator<Item = (TopicFilter, Qos)>) {
        let wanted: BTreeMap<TopicFilter, Qos> = wanted.into_iter().collect();
        let mut known = self.filters.lock().unwrap_or_else(PoisonError::into_inner);
        for filter in known.keys().filter(|filter| !wanted.contains_key(*filter)) {
            self.client.unsubscribe(filter);
        }
        for (filter, qos) in &wanted {
            if known.get(filter) != Some(qos) {
                self.client.subscribe(filter.clone(), *qos);
            }
        }
        *known = wanted;
    }
}

/// The client id of a bridge. It has a number of its own, since an earlier one may still be on its way out.
pub(crate) fn client_id(bridge: &BridgeId, number: u64) -> Option<ClientId> {
    ClientId::parse(&format!("$platform/bridge/{bridge}/{number}")).ok()
}

/// Whether a client is, or was, that of a bridge.
pub(super) fn is_of(bridge: &BridgeId, client_id: &ClientId) -> bool {
    let rest = client_id.as_str().strip_prefix("$platform/bridge/");
    rest.and_then(|it| it.strip_prefix(bridge.as_str())).is_some_and(|it| it.starts_with('/'))
}
