//! What a project has for its drivers: the node's own broker, for devices that are its clients, and the trust list.

use crate::context::Shared;
use crate::ports::{ForDrivers, Opening};
use crate::trust::ProjectTrust;
use broker::{AttachOptions, Client, Delivery, Inbox, Outgoing, RetainedWalk};
use drivers::bridge::{RemoteMessage, SendError, Sending};
use drivers::mqtt::{LocalBroker, LocalClient};
use drivers::{DriverConfig, Receipt, TagConfig};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use proto::{ClientId, Qos, TopicFilter};
use std::sync::Arc;
use store::Changes;

/// Messages that devices wait for, since their values are yet to be kept.
const WINDOW: usize = 1024;

/// Retained messages that are looked at in one go.
const PAGE: usize = 256;

/// One project of the node's own broker.
struct Bus {
    context: Shared,
    /// Any client of the project.
    client: Client,
}

struct BusClient {
    client: Client,
    inbox: Inbox,
}

/// What a driver of the project of a client is opened with.
pub(crate) fn opening<'a>(
    (context, client): (&Shared, &Client),
    config: &'a DriverConfig,
    tags: &'a [TagConfig],
) -> Opening<'a> {
    let trust = ProjectTrust { context: context.clone(), namespace: client.namespace().clone() };
    let bus = Bus { context: context.clone(), client: client.clone() };
    let project = ForDrivers { broker: Arc::new(bus), trust: Arc::new(trust) };
    Opening { config, tags, project: Some(project) }
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
