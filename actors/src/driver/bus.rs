//! The node's own broker for a driver of devices that are its clients.

use crate::context::Shared;
use broker::{AttachOptions, Client, Delivery, Inbox, Outgoing, RetainedWalk};
use drivers::Receipt;
use drivers::bridge::{RemoteMessage, SendError, Sending};
use drivers::mqtt::{LocalBroker, LocalClient};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use proto::{ClientId, Qos, TopicFilter};
use store::Changes;

/// Messages that devices wait for, since their values are yet to be kept.
const WINDOW: usize = 1024;

/// Retained messages that are looked at in one go.
const PAGE: usize = 256;

/// One project of the node's own broker.
pub(crate) struct Bus {
    pub(crate) context: Shared,
    /// Any client of the project.
    pub(crate) client: Client,
}

struct BusClient {
    client: Client,
    inbox: Inbox,
}

impl LocalBroker for Bus {
    fn attach(&self, filters: &[TopicFilter]) -> Option<Box<dyn LocalClient>> {
        let id = ClientId::parse(&format!("$platform/mqtt/{}", self.context.next_number())).ok()?;
        let options = AttachOptions { window: WINDOW };
        let broker = &self.context.outside.broker;
        let (client, inbox) = broker.attach(self.client.namespace(), id, options)?;
        for filter in filters {
            client.subscribe(filter.clone(), Qos::AtLeastOnce);
        }
        Some(Box::new(BusClient { client, inbox }))
    }

    fn retained(&self, filter: &TopicFilter, limit: usize) -> Vec<RemoteMessage> {
        let mut walk = RetainedWalk::new(filter.clone(), None);
        let mut found = Vec::new();
        while found.len() < limit && !walk.is_over() {
            let page = self.client.retained_page(&mut walk, PAGE);
            found.extend(page.into_iter().map(|delivery| message(&delivery, true)));
        }
        found.truncate(limit);
        found
    }
}

impl LocalClient for BusClient {
    fn next(&mut self) -> BoxFuture<'_, Option<(RemoteMessage, Receipt)>> {
        async move {
            let mut delivery = self.inbox.receive().await?;
            let (told, token) = (message(&delivery, false), delivery.token());
            Some((told, Receipt::new(move || token.ack())))
        }
        .boxed()
    }

    fn publish(&self, message: RemoteMessage) -> Sending {
        let client = self.client.clone();
        async move {
            let outgoing = Outgoing::new(message.topic, message.payload).qos(message.qos);
            let published = client.publish_durably(Changes::new(), vec![outgoing]).await;
            published.map_err(|error| SendError::Again(error.to_string()))
        }
        .boxed()
    }
}

/// A message as a device sent it. Only one that is told because it was kept is a retained one.
fn message(delivery: &Delivery, is_retained: bool) -> RemoteMessage {
    RemoteMessage {
        topic: delivery.topic.clone(),
        payload: delivery.payload.clone(),
        qos: delivery.qos,
        retain: is_retained,
        properties: Default::default(),
    }
}
