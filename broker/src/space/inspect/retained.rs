//! The retained messages of a namespace as operators see them, and their deletion by hand.

use crate::inspect::retained::{PAGE_BYTES_MAX, RetainedInfo, RetainedQuery};
use crate::inspect::{PATIENCE, Page};
use crate::message::Message;
use crate::outbox::Outbox;
use crate::space::{Space, Walk};
use bytes::Bytes;
use proto::{Qos, TopicName};
use std::sync::Arc;
use store::CommitError;
use tokio::time::Instant;

impl Space {
    /// Retained messages of topics after a name, in their order, at most `limit`. The figures of the broker itself
    /// are not among them.
    pub(crate) fn retained_list(
        &self,
        query: &RetainedQuery,
        after: Option<&TopicName>,
        limit: usize,
    ) -> Page<RetainedInfo, TopicName> {
        let began = Instant::now();
        let now = self.shared.clock.now();
        let mut walk = Walk::after(query.filter.clone(), after.cloned());
        let mut page = Page { items: Vec::new(), next: None };
        let mut bytes = 0;
        while !walk.is_over() {
            for message in self.retained_page(&mut walk) {
                let text = message.topic.as_str();
                if !query.contains.as_deref().is_none_or(|it| text.contains(it)) {
                    continue;
                }
                if page.items.len() == limit || bytes > PAGE_BYTES_MAX {
                    page.next = page.items.last().map(|it: &RetainedInfo| it.topic.clone());
                    return page;
                }
                let info = RetainedInfo::new(&message, query.with_payload, now);
                bytes += info.payload.as_ref().map_or(0, Bytes::len);
                page.items.push(info);
            }
            if !walk.is_over() && began.elapsed() > PATIENCE {
                page.next = walk.seen_to().cloned();
                return page;
            }
        }
        page
    }

    /// The retained message of a topic.
    pub(crate) fn retained_info(&self, topic: &TopicName) -> Option<RetainedInfo> {
        let mut walk = Walk::after(topic.clone().into(), None);
        let message = self.retained_page(&mut walk).pop()?;
        Some(RetainedInfo::new(&message, true, self.shared.clock.now()))
    }

    /// Deletes the retained messages of some topics in one commit. Nobody is told: subscribers have had them.
    pub(crate) async fn delete_retained(
        self: &Arc<Self>,
        topics: Vec<TopicName>,
    ) -> Result<(), CommitError> {
        let mut outbox = Outbox::of(self);
        for topic in topics {
            let nothing = Arc::new(Message {
                topic,
                payload: Bytes::new(),
                qos: Qos::AtMostOnce,
                retain: true,
                properties: None,
                sender: Arc::clone(self.shared.voice()),
                expires_at: None,
                gate: None,
            });
            // An empty payload takes no room, so that no bound refuses it.
            let _ = outbox.retain(self, &nothing);
        }
        let (commit, settlement) = outbox.submit(&self.shared);
        let Some(commit) = commit else { return Ok(()) };
        let shared = Arc::clone(&self.shared);
        // A task of its own: the commit has to be settled even if the caller is gone.
        let settled = tokio::spawn(async move {
            let outcome = commit.await;
            settlement.finish(outcome.clone(), &shared);
            outcome
        });
        settled.await.unwrap_or(Err(CommitError::Closed))
    }
}
