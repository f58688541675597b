//! The way to the broker of the devices: the node's own, in process, or another one by its address.

use super::config::MqttConfig;
use crate::bridge::{Link, LinkAck, LinkEvent, RemoteConfig, RemoteMessage, Sending};
use crate::port::{ConnectError, Lost, Receipt};
use futures_util::future::BoxFuture;
use proto::{Qos, TopicFilter};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// What the subscriptions are called in messages.
const REQUEST: &str = "the subscription";

/// What the node's own broker is called in messages.
const OWN: &str = "the node's own broker";

/// Messages that may come before the subscriptions are answered, as of a session that another broker has kept.
const FIRST_MAX: usize = 4096;

/// The node's own broker, as a driver sees it: one project of it.
pub trait LocalBroker: Send + Sync {
    /// A client that has what is published to these filters delivered; `None` if the project is being closed.
    fn attach(&self, filters: &[TopicFilter]) -> Option<Box<dyn LocalClient>>;

    /// What is retained there, at most so much of it.
    fn retained(&self, filter: &TopicFilter, limit: usize) -> Vec<RemoteMessage>;
}

/// A client of the node's own broker.
pub trait LocalClient: Send {
    /// The next message; `None` once the client is detached. Nothing is lost if it is given up.
    fn next(&mut self) -> BoxFuture<'_, Option<(RemoteMessage, Receipt)>>;

    /// Publishes a message, durably.
    fn publish(&self, message: RemoteMessage) -> Sending;
}

/// See the module.
pub(super) struct Line {
    end: End,
    /// Came before the subscriptions were answered, or is retained.
    first: VecDeque<(RemoteMessage, Receipt)>,
    /// Messages that were let go since more than [`FIRST_MAX`] came. Those that have to be acknowledged come again.
    pub(super) let_go: u64,
    acks: mpsc::Sender<LinkAck>,
    acked: mpsc::Receiver<LinkAck>,
}

enum End {
    Remote(Link),
    Local(Box<dyn LocalClient>),
}

/// How a line is opened.
pub(super) struct Opening<'a> {
    pub(super) config: &'a MqttConfig,
    pub(super) local: Option<&'a Arc<dyn LocalBroker>>,
    /// Made a part of the client id, so that one that looks around does not push the driver's own out.
    pub(super) suffix: Option<&'static str>,
    /// At most so much of what the node's own broker has retained for a filter.
    pub(super) retained_max: usize,
}

impl Opening<'_> {
    /// Connects and subscribes; the filters that were refused.
    pub(super) async fn open(
        self,
        filters: Vec<TopicFilter>,
    ) -> Result<(Line, Vec<TopicFilter>), ConnectError> {
        match &self.config.broker {
            None => self.attach(&filters).map(|line| (line, Vec::new())),
            Some(broker) => {
                let timeout_ms = self.config.timeout_ms;
                let opening = dial(broker.clone(), self.suffix, filters);
                let opened = timeout(Duration::from_millis(timeout_ms.into()), opening).await;
                let address = broker.url.clone();
                opened.map_err(|_| ConnectError::Timeout { address, timeout_ms })?
            }
        }
    }

    fn attach(&self, filters: &[TopicFilter]) -> Result<Line, ConnectError> {
        let unreachable = |reason: &str| {
            let (address, reason) = (OWN.to_owned(), reason.to_owned());
            ConnectError::Unreachable { address, reason }
        };
        let local = self.local.ok_or_else(|| unreachable("there is none here"))?;
        let client = local.attach(filters);
        let client = client.ok_or_else(|| unreachable("the project is being closed"))?;
        let mut line = Line::new(End::Local(client), 1);
        for filter in filters {
            let retained = local.retained(filter, self.retained_max).into_iter();
            line.first.extend(retained.map(|message| (message, Receipt::default())));
        }
        Ok(line)
    }
}

async fn dial(
    mut broker: RemoteConfig,
    suffix: Option<&'static str>,
    filters: Vec<TopicFilter>,
) -> Result<(Line, Vec<TopicFilter>), ConnectError> {
    let address = broker.url.clone();
    let unreachable =
        |reason: String| ConnectError::Unreachable { address: address.clone(), reason };
    if let Some(suffix) = suffix {
        broker.client_id.push_str(suffix);
        broker.clean_start = true;
    }
    let is_alone = filters.is_empty();
    let link = Link::listen(&broker, filters).map_err(|error| unreachable(error.to_string()))?;
    let mut line = Line::new(End::Remote(link), usize::from(broker.inflight_max) * 2 + 64);
    loop {
        let End::Remote(link) = &mut line.end else {
            return Err(unreachable("the client has ended".to_owned()));
        };
        match link.next().await {
            Some(LinkEvent::Connected(_)) if is_alone => return Ok((line, Vec::new())),
            Some(LinkEvent::Connected(_)) => {}
            Some(LinkEvent::Subscribed(answer)) => return Ok((line, answer.refused)),
            Some(LinkEvent::Received(received)) => {
                if line.first.len() >= FIRST_MAX {
                    line.let_go += 1;
                } else if let Some(message) = received.message {
                    let receipt = line.receipt(&message, received.ack);
                    line.first.push_back((message, receipt));
                }
            }
            Some(LinkEvent::Lost(reason)) => return Err(unreachable(reason)),
            None => return Err(unreachable("the client has ended".to_owned())),
        }
    }
}

impl Line {
    fn new(end: End, acks_max: usize) -> Self {
        let (acks, acked) = mpsc::channel(acks_max);
        Self { end, first: VecDeque::new(), let_go: 0, acks, acked }
    }

    /// The next message. Nothing is lost if it is given up.
    pub(super) async fn next(&mut self) -> Result<(RemoteMessage, Receipt), Lost> {
        if let Some(first) = self.first.pop_front() {
            return Ok(first);
        }
        let closed =
            |reason: &str| Lost::Closed { request: REQUEST.to_owned(), reason: reason.to_owned() };
        loop {
            match &mut self.end {
                End::Local(client) => {
                    return client.next().await.ok_or_else(|| closed("the project is closed"));
                }
                End::Remote(link) => {
                    let event = tokio::select! {
                        biased;
                        // Room for new ones comes first.
                        Some(ack) = self.acked.recv() => {
                            link.acknowledge(ack);
                            continue;
                        }
                        event = link.next() => event,
                    };
                    match event {
                        Some(LinkEvent::Received(received)) => {
                            match received.message {
                                Some(message) => {
                                    let receipt = self.receipt(&message, received.ack);
                                    return Ok((message, receipt));
                                }
                                // It has no topic, and will not have one next time either.
                                None => link.acknowledge(received.ack),
                            }
                        }
                        Some(LinkEvent::Lost(reason)) => return Err(closed(&reason)),
                        Some(LinkEvent::Connected(_) | LinkEvent::Subscribed(_)) => {}
                        None => return Err(closed("the client has ended")),
                    }
                }
            }
        }
    }

    /// Fulfils the duty to acknowledge through the line, which may be busy elsewhere. There is room for all that can
    /// be in flight; one that finds none comes again with the next connection.
    fn receipt(&self, message: &RemoteMessage, ack: LinkAck) -> Receipt {
        if message.qos == Qos::AtMostOnce {
            return Receipt::default();
        }
        let acks = self.acks.clone();
        Receipt::new(move || drop(acks.try_send(ack)))
    }

    /// Publishes a message.
    pub(super) fn publish(&self, message: RemoteMessage) -> Sending {
        match &self.end {
            End::Remote(link) => link.publish(&message),
            End::Local(client) => client.publish(message),
        }
    }
}
