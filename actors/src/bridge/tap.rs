//! The client of a bridge in its namespace. It outlives the actor, so that a restart misses nothing.

use broker::{Client, Inbox};
use proto::{Qos, TopicFilter};
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
